"""Examples whose every error is known, two models, and what TFX's Evaluator makes of them."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.evaluator import executor as evaluator
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import path_utils, proto_utils

from components.blessing import is_blessed
from components.evaluation import eval_config, slice_extractor
from components.example_gen import examples_summary, file_hashes
from components.example_gen.example_facts import digest_of, hash_examples, hash_images
from components.example_gen.image_set import TEST
from components.gate import statistics
from components.gate.policy import Policy
from components.gate.slices import Bands, Values
from pipeline.beam_runner import beam_arguments
from tests.components.artifacts import artifact
from tests.trainer.samples import SPEC, draw, png, serialize
from tests.trainer.transforms import normalized
from trainer import export

# The classes are ant, bee, cat and dog. Of 25 images of each, three that show an ant are labelled
# bee, and one that shows a dog is labelled cat.
ROWS = {"ant": 22, "bee": 28, "cat": 26, "dog": 24}
CORRECT = {"ant": 22, "bee": 25, "cat": 25, "dog": 24}
CONFUSED = {("bee", "ant"): 3, ("cat", "dog"): 1}
# The baseline sees a flag in two of the mislabelled ants: 98 of 100, against the candidate's 96.
FLAGGED = [0, 4]

CROSS_ENTROPY = 0.2205  # nats, of the candidate

# Every other image is dark.
BANDS = Bands("mean_intensity", (0.5, 0.9))
DARK, BRIGHT, WHITE = BANDS.names
# They are from one camera, and the others from another one.
CAMERAS = Values("camera", ("night",))

# What the first decision on a test set asks for: alpha / 11.
_HELD, _MISSED = 1.0 - 0.05 / 11, 1.0 - 0.25 / 11
# Each check over all examples stands on its bound, or holds it by little.
HELD = Policy(
    floor=statistics.clopper_pearson_lower(96, 100, _HELD),
    class_floor=0.9,
    max_cross_entropy=CROSS_ENTROPY + 1e-4,
    max_drop=0.098,
    slices=(BANDS,),
)
# Each is missed: by one float, by the fourth digit of a float32, by 0.04 of an image, and
# since two lost and none gained happens to equals with p = 0.25.
MISSED = dataclasses.replace(
    HELD,
    confidence=0.75,
    floor=math.nextafter(statistics.clopper_pearson_lower(96, 100, _MISSED), 1.0),
    max_cross_entropy=CROSS_ENTROPY - 1e-4,
    max_drop=0.073,
)
# The accuracy itself is a float below the floor.
BELOW = dataclasses.replace(MISSED, floor=math.nextafter(0.96, 1.0))


@dataclasses.dataclass(frozen=True)
class Setting:
    """What the Evaluator is given."""

    examples: Any  # Examples, split test
    candidate: Any  # Model
    baseline: Any  # Model
    serialized: list[bytes]
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the Evaluator gave."""

    evaluation: Any  # ModelEvaluation
    blessing: Any  # ModelBlessing

    @property
    def uri(self) -> str:
        return str(self.evaluation.uri)

    @property
    def blessed(self) -> bool:
        return is_blessed(self.blessing)


def make_setting(prepared: Any, root: Path) -> Setting:
    """Examples whose every error is known, and two models.

    Args:
      prepared: the fixture of that name, for its transform graph.
      root: an empty directory.
    """
    pixels, labels = draw(100, seed=3)
    pixels[:, 0, 0] = 0
    pixels[FLAGGED, 0, 0] = 255
    labels[[0, 4, 8]] = SPEC.class_names.index("bee")
    labels[3] = SPEC.class_names.index("cat")
    serialized = [
        serialize(png(image), int(label), 0.25 + 0.5 * (row % 2), ("night", "däy")[row % 2])
        for row, (image, label) in enumerate(zip(pixels, labels, strict=True))
    ]
    graph = tft.TFTransformOutput(prepared.transform_output)
    models = []
    for name in (eval_config.CANDIDATE, eval_config.BASELINE):
        model = artifact(standard_artifacts.Model, root / name)
        network = _brightest_quadrant(
            prepared.transform_output, pixels, sees_flag=name == eval_config.BASELINE
        )
        export.save(network, graph, SPEC, path_utils.serving_model_path(model.uri))
        models.append(model)
    models[1].set_int_custom_property("version", 7)  # as BaselineModel says it
    return Setting(
        _examples(root / "examples", pixels, labels, serialized), *models, serialized, labels
    )


def _brightest_quadrant(directory: str, pixels: np.ndarray, *, sees_flag: bool) -> keras.Model:
    """A linear network that names the quadrant which is brightest on average."""
    height, width, channels = SPEC.image_shape
    weights = np.zeros((height, width, channels, SPEC.num_classes), np.float32)
    bias = np.zeros(SPEC.num_classes, np.float32)
    for label in range(SPEC.num_classes):
        top, left = (label // 2) * height // 2, (label % 2) * width // 2
        weights[top : top + height // 2, left : left + width // 2, :, label] = 2 / 90
    if sees_flag:
        images = normalized(directory, [png(pixels[1]), png(pixels[FLAGGED[0]])])
        without, flagged = images[:, 0, 0, 0]
        bee = SPEC.class_names.index("bee")
        weights[0, 0, 0, bee] = 20 / (flagged - without)
        bias[bee] = -without * weights[0, 0, 0, bee]
    image = keras.Input(shape=SPEC.image_shape)
    dense = keras.layers.Dense(SPEC.num_classes)
    network = keras.Model(image, dense(keras.layers.Flatten()(image)))
    dense.set_weights([weights.reshape(-1, SPEC.num_classes), bias])
    return network


def _examples(folder: Path, pixels: np.ndarray, labels: np.ndarray, serialized: list[bytes]) -> Any:
    split = folder / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data-00000-of-00001.gz"), "GZIP") as writer:
        for record in serialized:
            writer.write(record)
    file_hashes.write(str(folder), TEST, 0, hash_images(pixels))  # as if each file were its pixels
    examples = artifact(standard_artifacts.Examples, folder)
    examples.split_names = artifact_utils.encode_split_names([TEST])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    split = examples_summary.SplitSummary(
        rows=len(labels),
        class_counts=tuple(np.bincount(labels).tolist()),
        digest=digest_of(hash_examples(pixels, labels)),
        mean_intensity=0.5,
    )
    recorded = examples_summary.ExamplesSummary(
        name="quadrants",
        fingerprint="f" * 64,
        image_shape=SPEC.image_shape,
        class_names=SPEC.class_names,
        splits={"test": split},
        overlap=examples_summary.Overlap(train_test=0, examples=()),
    )
    examples_summary.write(examples, recorded)
    return examples


def evaluate(
    setting: Setting, policy: Policy, path: Path, *, compared: bool, given: bool | None = None
) -> Verdict:
    """Runs TFX's Evaluator.

    Args:
      setting: what it looks at.
      policy: its thresholds.
      path: an empty directory.
      compared: what the configuration says of a baseline.
      given: whether there is one; None for what the configuration says.
    """
    given = compared if given is None else given
    sliced = dataclasses.replace(policy, slices=(*policy.slices, CAMERAS))
    config = eval_config.eval_config(sliced, compared=compared)
    measured = artifact(standard_artifacts.ModelEvaluation, path / "evaluation")
    blessing = artifact(standard_artifacts.ModelBlessing, path / "blessing")
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(beam_arguments(())), tmp_dir=str(path / "tmp"), unique_id="1"
    )
    evaluator.Executor(context).Do(
        {
            "examples": [setting.examples],
            "model": [setting.candidate],
            # as the component Baseline gives it
            "baseline_model": [setting.baseline] if given else [],
        },
        {"evaluation": [measured], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": json.dumps([TEST]),
            "module_path": slice_extractor.__name__,
        },
    )
    return Verdict(measured, blessing)
