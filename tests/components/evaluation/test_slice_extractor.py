"""The extractor that adds the slices of each example to a batch of TFMA's."""

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from components.evaluation.slice_extractor import add_slices, slices_of
from components.gate.slices import Bands, Values

DARK = Bands("mean_intensity", (0.1, 0.2))
LARGE = Bands("height", (20.0,))
FRONT = Values("camera", ("front", "rear"))


def batch(**features) -> dict:
    return {tfma.FEATURES_KEY: {name: np.array(values) for name, values in features.items()}}


def test_the_slices_are_those_that_the_slicing_specs_name() -> None:
    specs = [
        config_pb2.SlicingSpec(),
        config_pb2.SlicingSpec(feature_keys=["label"]),
        config_pb2.SlicingSpec(feature_keys=[str(DARK)]),
        config_pb2.SlicingSpec(feature_keys=[str(LARGE)]),
        config_pb2.SlicingSpec(feature_keys=[str(FRONT)]),
    ]
    assert slices_of(config_pb2.EvalConfig(slicing_specs=specs)) == (DARK, LARGE, FRONT)


def test_each_example_gets_the_index_of_its_band() -> None:
    extracts = batch(mean_intensity=[[0.05], [0.1], [0.3]], height=[[28], [19], [20]])
    features = add_slices(extracts, (DARK, LARGE))[tfma.FEATURES_KEY]
    assert features[str(DARK)].tolist() == [[0], [1], [2]]
    assert features[str(LARGE)].tolist() == [[1], [0], [1]]


def test_texts_are_bytes_in_examples_and_what_is_not_listed_is_a_slice_of_its_own() -> None:
    extracts = batch(camera=np.array([[b"rear"], [b"roof"], ["d\xe4mmrig".encode()]], object))
    features = add_slices(extracts, (FRONT,))[tfma.FEATURES_KEY]
    assert features[str(FRONT)].tolist() == [[1], [2], [2]]
    numbered = add_slices(batch(site=[[7], [8]]), (Values("site", ("7",)),))[tfma.FEATURES_KEY]
    assert numbered["site=7"].tolist() == [[0], [1]]


def test_a_batch_of_plain_numbers_is_one_number_each() -> None:
    features = add_slices(batch(mean_intensity=[0.05, 0.3]), (DARK,))[tfma.FEATURES_KEY]
    assert features[str(DARK)].tolist() == [[0], [2]]


def test_the_batch_that_came_in_stays_as_it_was() -> None:
    extracts = batch(mean_intensity=[[0.05]])
    add_slices(extracts, (DARK,))
    assert list(extracts[tfma.FEATURES_KEY]) == ["mean_intensity"]
