import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from tests.trainer.samples import SPEC, png
from tests.trainer.transforms import normalized
from trainer import features, inputs
from trainer.transform_graph import TransformGraph


def test_a_split_keeps_rows_and_order_in_memory_and_in_a_file(prepared, tmp_path, monkeypatch):
    reader = inputs.SplitReader(
        [prepared.eval_files], tft.TFTransformOutput(prepared.transform_output), SPEC
    )
    in_memory = reader.load()
    monkeypatch.setattr(inputs, "_DECODE_BYTES", 1)  # image by image
    in_file = reader.load(tmp_path)
    assert (len(in_memory.scratch), len(in_file.scratch)) == (0, 2)
    assert Path("/proc/self/maps").read_text().count(str(tmp_path)) >= 2
    for split in (in_memory, in_file):
        assert split.images.shape == (32, *SPEC.image_shape)
        assert split.levels.shape == (256, 3)
        assert split.num_bytes == reader.num_bytes == 32 * (12 * 10 * 3 + 4 * 4)
        np.testing.assert_array_equal(split.images, prepared.eval_pixels)
        np.testing.assert_array_equal(np.argmax(split.labels, axis=1), prepared.eval_labels)


def test_images_are_normalized_to_the_bits_of_the_transform_graph(prepared):
    tft_output = tft.TFTransformOutput(prepared.transform_output)
    split = inputs.SplitReader([prepared.eval_files], tft_output, SPEC).load()
    expected = normalized(prepared.transform_output, [png(image) for image in prepared.eval_pixels])
    np.testing.assert_array_equal(split.normalized(split.images), expected)


class NormalizesByTheImage(TransformGraph):
    """Takes from each image its own brightest pixel."""

    def __call__(self, raw):
        transformed = super().__call__(raw)
        if features.NORMALIZED_IMAGE in transformed:
            images = transformed[features.NORMALIZED_IMAGE]
            images = images - tf.reduce_max(images, axis=[1, 2, 3], keepdims=True)
            transformed = transformed | {features.NORMALIZED_IMAGE: images}
        return transformed


def test_a_transform_graph_that_looks_beyond_the_pixel_is_refused(prepared, monkeypatch):
    monkeypatch.setattr(inputs, "TransformGraph", NormalizesByTheImage)
    with pytest.raises(ValueError, match="does not normalize each pixel by its own grey level"):
        inputs.SplitReader(
            [prepared.eval_files], tft.TFTransformOutput(prepared.transform_output), SPEC
        ).load()


def test_other_classes_than_those_of_the_transform_graph_are_refused(prepared):
    spec = dataclasses.replace(SPEC, class_names=("a", "b", "c"))
    with pytest.raises(ValueError, match="class_names holds 3 names, expected 4, one for each col"):
        inputs.SplitReader(
            [prepared.eval_files], tft.TFTransformOutput(prepared.transform_output), spec
        )


def test_a_split_without_examples_says_so(prepared, tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=r"no examples in .*empty\*: is the split empty"):
        inputs.SplitReader(
            [str(tmp_path / "empty*")], tft.TFTransformOutput(prepared.transform_output), SPEC
        ).load()
