import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.components.example_validator.executor import Executor as ExampleValidator
from tfx.components.statistics_gen.executor import Executor as StatisticsGen
from tfx.types import artifact_utils, standard_artifacts

from components import pictures
from components.data_gate.bounds import DataGateConfig
from components.data_gate.data_gate import DataGate, rows_check
from components.example_gen.schema import CuratedSchema
from components.gate.check import Check, GateRefused
from pipeline.beam_runner import beam_arguments
from pipeline.dataset_defaults import bounds_for
from tests.components.artifacts import artifact
from tests.trainer.samples import png
from trainer import features

SHAPE = (6, 5, 1)
CLASSES = ("cat", "dog", "owl")
SPLITS = ("train", "eval", "test")
ROWS = 12  # per split, four of each class
# A version of TFX's, which StatisticsGen's readers ask each artifact for.
TFX_VERSION = "1.16.0"


def row(label: int | None = 0, *, shape=SHAPE, grey: int = 64, seed: int = 0) -> dict:
    """One example's features; None leaves one out. Equal seeds give equal pixels."""
    height, width, channels = shape
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    return {
        features.IMAGE: png(pixels),
        features.LABEL: label,
        features.HEIGHT: height,
        features.WIDTH: width,
        features.CHANNELS: channels,
        features.MEAN_INTENSITY: grey / 255,
    }


def clean_rows(split: str) -> list[dict]:
    first = ROWS * SPLITS.index(split)
    return [row(index % len(CLASSES), seed=first + index) for index in range(ROWS)]


def serialized(values: dict) -> bytes:
    kinds = {
        int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])),
        list: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=value)),
        float: lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value])),
        bytes: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])),
    }
    present = {name: value for name, value in values.items() if value is not None}
    feature = {name: kinds[type(value)](value) for name, value in present.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def artifact_of(kind, uri: Path, splits: tuple[str, ...] = ()):
    made = artifact(kind, uri)
    if splits:
        made.split_names = artifact_utils.encode_split_names(list(splits))
    made.mlmd_artifact.custom_properties["tfx_version"].string_value = TFX_VERSION
    return made


def summary(rows: dict[str, int], train_counts=(4, 4, 4), overlap: int = 0) -> dict:
    """The `dataset` property as ExampleGen writes it."""
    counts = {"train": list(train_counts), "eval": [4, 4, 4], "test": [4, 4, 4]}
    return {
        "name": "pets",
        "fingerprint": "f" * 64,
        "image_shape": list(SHAPE),
        "class_names": list(CLASSES),
        "splits": {
            split: {
                "rows": rows[split],
                "class_counts": counts[split],
                "digest": "d" * 64,
                "mean_intensity": 0.25,
            }
            for split in SPLITS
        },
        "overlap": {"train_test": overlap, "examples": ["abcdef0123456789"] * min(overlap, 5)},
    }


@dataclasses.dataclass
class Validated:
    """What DataGate gets from the components before it."""

    examples: standard_artifacts.Examples
    statistics: standard_artifacts.ExampleStatistics
    anomalies: standard_artifacts.ExampleAnomalies
    schema: standard_artifacts.Schema
    blessing: standard_artifacts.ExampleAnomalies

    def record(self, dataset: dict) -> None:
        self.examples.set_string_custom_property("dataset", json.dumps(dataset))

    def gate(self, released="", **bounds):
        """Runs DataGate as TFX does and returns the checks of its blessing."""
        known = bounds_for(DataGateConfig(**bounds), "pets")
        inputs = {name: [value] for name, value in vars(self).items() if name != "blessing"}
        DataGate.EXECUTOR_SPEC.executor_class().Do(
            inputs,
            {"blessing": [self.blessing]},
            {"bounds": json.dumps(dataclasses.asdict(known)), "released": released},
        )
        content = self.blessing.get_string_custom_property("checks")
        return [Check.from_dict(fields) for fields in json.loads(content)]

    def refused(self, released="", **bounds):
        """Runs DataGate, which must refuse; the checks that failed."""
        with pytest.raises(GateRefused) as refused:
            self.gate(released, **bounds)
        return [check for check in refused.value.checks if not check.passed]


def validate(root: Path, rows: dict[str, list[dict]]) -> Validated:
    """Writes examples and runs TFX's StatisticsGen and ExampleValidator on them."""
    made = Validated(
        examples=artifact_of(standard_artifacts.Examples, root / "examples", tuple(rows)),
        statistics=artifact_of(standard_artifacts.ExampleStatistics, root / "statistics"),
        anomalies=artifact_of(standard_artifacts.ExampleAnomalies, root / "anomalies"),
        schema=artifact_of(standard_artifacts.Schema, root / "schema"),
        blessing=artifact_of(standard_artifacts.ExampleAnomalies, root / "blessing"),
    )
    made.examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    for split, listed in rows.items():
        folder = root / "examples" / f"Split-{split}"
        folder.mkdir(parents=True)
        path = str(folder / "data_tfrecord-00000-of-00001.gz")
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for values in listed:
                writer.write(serialized(values))
    CuratedSchema.test_call(
        schema=made.schema,
        dataset=json.dumps({"image_shape": SHAPE, "class_names": CLASSES}),
        min_mean_intensity=0.01,
        max_mean_intensity=0.5,
    )
    context = StatisticsGen.Context(
        beam_pipeline_args=list(beam_arguments(())), tmp_dir=str(root / "tmp"), unique_id="1"
    )
    StatisticsGen(context).Do(
        {"examples": [made.examples], "schema": [made.schema]},
        {"statistics": [made.statistics]},
        {},
    )
    ExampleValidator().Do(
        {"statistics": [made.statistics], "schema": [made.schema]},
        {"anomalies": [made.anomalies]},
        {},
    )
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Validated:
    return validate(
        tmp_path_factory.mktemp("clean"), {split: clean_rows(split) for split in SPLITS}
    )


@pytest.fixture
def clean(shared, tmp_path) -> Validated:
    """Validated examples without a defect; what a test records or blesses is its own."""
    own = dataclasses.replace(
        shared, blessing=artifact_of(standard_artifacts.ExampleAnomalies, tmp_path / "blessing")
    )
    own.record(summary(dict.fromkeys(SPLITS, ROWS)))
    return own


def with_defects(clean: Validated, root: Path, rows: dict[str, list[dict]]) -> Validated:
    """`rows` as splits, validated, between the clean ones: each costs a second."""
    made = validate(root, rows)
    for name in ("statistics", "anomalies"):
        ours, theirs = getattr(made, name), getattr(clean, name)
        for other in set(SPLITS) - rows.keys():
            shutil.copytree(f"{theirs.uri}/Split-{other}", f"{ours.uri}/Split-{other}")
        ours.split_names = theirs.split_names
    made.record(summary({split: len(rows.get(split, range(ROWS))) for split in SPLITS}))
    return made


def test_clean_data_is_blessed_with_every_check(clean):
    checks = clean.gate()

    # Six features and the number of rows in each of three splits, drift of the classes and of the
    # intensities, overlap, duplicates, and label noise of all labels and of each class.
    assert len(checks) == 3 * (6 + 1) + 2 + 2 + 2
    assert all(check.passed for check in checks)
    assert clean.blessing.get_int_custom_property("blessed") == 1
    assert json.loads(Path(clean.blessing.uri, "checks.json").read_text()) == [
        check.to_dict() for check in checks
    ]
    shown = pictures.read(Path(clean.blessing.uri))
    assert shown is not None
    assert shown.examined == 2 * ROWS  # train and eval


DEFECTS = {
    "wrong height": (
        "eval",
        [row(shape=(7, 5, 1))],
        "data.eval.height",
        ("INT in each example, from 6 to 7", "INT in each example, 6"),
        "eval: wrong shape: height is",
    ),
    "wrong width": (
        "test",
        [row(shape=(6, 4, 1))],
        "data.test.width",
        ("INT in each example, from 4 to 5", "INT in each example, 5"),
        "test: wrong shape: width is",
    ),
    "wrong channels": (
        "train",
        [row(shape=(6, 5, 3))],
        "data.train.channels",
        ("INT in each example, from 1 to 3", "INT in each example, 1"),
        "train: wrong shape: channels is",
    ),
    "missing label": (
        "train",
        [row(None)],
        "data.train.label",
        ("INT in 16 of 17 examples, from 0 to 2", "INT in each example, from 0 to 2"),
        "train: missing label: label is",
    ),
    "label above the classes": (
        "test",
        [row(3)],
        "data.test.label",
        ("INT in each example, from 0 to 3", "INT in each example, from 0 to 2"),
        "test: unknown label: label is",
    ),
    "label below zero": (
        "train",
        [row(-1)],
        "data.train.label",
        ("INT in each example, from -1 to 2", "INT in each example, from 0 to 2"),
        "train: unknown label: label is",
    ),
    "two labels": (
        "train",
        [{**row(), features.LABEL: [0, 1]}],
        "data.train.label",
        (
            "INT in each example with up to 2 values, from 0 to 2",
            "INT in each example, from 0 to 2",
        ),
        "train: feature shape dropped: label is",
    ),
    "missing and unknown label": (
        "train",
        [row(None), row(9)],
        "data.train.label",
        ("INT in 13 of 14 examples, from 0 to 9", "INT in each example, from 0 to 2"),
        "train: missing label and unknown label: label is",
    ),
    "blank image": (
        "train",
        [row(grey=0)],
        "data.train.mean_intensity",
        # 64 / 255 = 0.25098
        (
            "FLOAT in each example, from 0 to 0.25098, 1 of them 0",
            "FLOAT in each example, from 0.01 to 0.5",
        ),
        "train: blank image: mean_intensity is",
    ),
    "inverted image": (
        "test",
        [row(grey=255 - 64)],
        "data.test.mean_intensity",
        # 191 / 255 = 0.74902
        (
            "FLOAT in each example, from 0.25098 to 0.74902",
            "FLOAT in each example, from 0.01 to 0.5",
        ),
        "test: inverted image: mean_intensity is",
    ),
    "mean intensity that is not a number": (
        "eval",
        [{**row(), features.MEAN_INTENSITY: float("nan")}],
        "data.eval.mean_intensity",
        (
            "FLOAT in each example, 0.25098 and 1 NaN",
            "FLOAT in each example, from 0.01 to 0.5",
        ),
        "eval: invalid values: mean_intensity is",
    ),
    "missing image": (
        "train",
        [{**row(), features.IMAGE: None}],
        "data.train.image",
        ("BYTES in 16 of 17 examples", "BYTES in each example"),
        "train: missing image: image is",
    ),
    "unexpected feature": (
        "train",
        [{**row(), "colour": 1}],
        "data.train.colour",
        ("INT in 1 of 17 examples, 1", "no such feature"),
        "train: new column: colour is",
    ),
}


# Of a feature and a split of which another one is found too.
ALONE = ("label below zero", "two labels", "missing and unknown label")
TOGETHER = tuple(name for name in DEFECTS if name not in ALONE)


@pytest.mark.parametrize("names", [TOGETHER, *zip(ALONE)], ids=["together", *ALONE])
def test_each_defect_is_found_and_named(clean, tmp_path, names):
    defects = [DEFECTS[name] for name in names]
    rows = {split: clean_rows(split) for split, *_ in defects}
    for split, extra, *_ in defects:
        rows[split] += extra
    validated = with_defects(clean, tmp_path, rows)

    found = {finding.name: finding for finding in validated.refused()}
    assert sorted(found) == sorted(name for _, _, name, *_ in defects)
    for _, _, name, values, sentence in defects:
        assert (found[name].actual, found[name].required) == values
        assert found[name].sentence.startswith(sentence)
        assert f"expected {found[name].required}; " in found[name].sentence
    assert not Path(validated.blessing.uri).exists()


def test_a_set_that_is_resized_is_held_to_its_stored_sizes_too(clean):
    dataset = {**summary(dict.fromkeys(SPLITS, ROWS)), "resize": "pad", "size_tells": [0.0] * 3}
    for split, largest in zip(SPLITS, (6, 6, 600), strict=True):
        dataset["splits"][split]["sizes"] = [[6, 6], [6, 6], [largest, largest]]
    clean.record(dataset)

    assert [finding.name for finding in clean.refused()] == ["data.sizes"]


def test_a_split_without_any_label_is_found(clean, tmp_path):
    validated = with_defects(clean, tmp_path, {"train": [row(None)] * ROWS})

    with pytest.raises(GateRefused, match=r"train: missing label: label is in none of 12 examples"):
        validated.gate()


def test_images_of_test_in_train_are_refused_above_the_bound(clean):
    clean.record(summary(dict.fromkeys(SPLITS, ROWS), overlap=3))

    (finding,) = clean.refused(max_train_test_overlap=0.2)
    assert (finding.name, finding.actual, finding.required) == ("data.overlap", 0.25, 0.2)  # 3 / 12
    assert "such as abcdef012345" in finding.sentence
    assert "set data_gate.max_train_test_overlap" in finding.sentence


def test_images_of_test_in_train_pass_at_the_bound(clean):
    clean.record(summary(dict.fromkeys(SPLITS, ROWS), overlap=3))

    assert all(check.passed for check in clean.gate(max_train_test_overlap=0.25))


def test_fewer_validated_examples_than_recorded_are_refused(clean):
    clean.record(summary({"train": ROWS + 1, "eval": ROWS, "test": ROWS}))

    with pytest.raises(GateRefused, match=r"train: 12 examples validated, expected the 13"):
        clean.gate()


def test_first_run_says_that_drift_was_skipped(clean):
    (drift,) = (check for check in clean.gate() if check.name == "data.drift")

    assert (drift.passed, drift.actual) == (True, None)
    assert drift.sentence == "class drift skipped: no release to compare with"


def test_class_mix_of_the_last_release_passes(clean):
    released = json.dumps(summary(dict.fromkeys(SPLITS, ROWS)))

    (drift,) = (check for check in clean.gate(released) if check.name == "data.drift")

    assert (drift.passed, drift.actual) == (True, 0.0)


def test_class_mix_that_moved_since_the_last_release_is_refused(clean):
    released = json.dumps(summary(dict.fromkeys(SPLITS, ROWS), train_counts=(0, 500, 500)))

    (finding,) = clean.refused(released, max_class_drift=0.1)
    # 4 of 12 now, none of 1,000 then
    assert (finding.name, finding.actual) == ("data.drift", pytest.approx(4 / 12))
    assert finding.sentence.startswith("train: share of class cat went from 0.0000 to 0.3333")
    assert "set data_gate.max_class_drift" in finding.sentence


def test_another_image_shape_than_that_of_the_last_release_is_refused(clean):
    then = {**summary(dict.fromkeys(SPLITS, ROWS)), "image_shape": [28, 28, 1]}

    (finding,) = clean.refused(json.dumps(then))
    assert (finding.name, finding.actual, finding.required) == ("data.shape", "6x5x1", "28x28x1")
    assert finding.sentence.startswith("train: image is 6x5x1, expected 28x28x1 as in the last")
    assert finding.sentence.endswith("to that shape, or release to another --serving-dir")


def test_another_number_of_classes_than_in_the_last_release_is_refused(clean):
    then = summary(dict.fromkeys(SPLITS, ROWS), train_counts=(6, 6))

    (finding,) = clean.refused(json.dumps({**then, "class_names": ["cat", "dog"]}))
    assert (finding.name, finding.actual, finding.required) == (
        "data.drift",
        "3 classes, with owl",
        "2",
    )
    assert finding.sentence.startswith("train: classes are not those of the last release")


@pytest.mark.parametrize(
    "recorded",
    [
        *("null", "{}", '{"name": "mnist", "image_shape": [28, 28]}'),
        json.dumps({**summary(dict.fromkeys(SPLITS, ROWS)), "class_names": ["cat", "dog"]}),
    ],
    ids=["null", "empty", "another", "more counts than classes"],
)
def test_a_served_model_without_its_data_is_an_error_that_says_so(clean, recorded):
    with pytest.raises(ValueError, match="does not say what it was trained on"):
        clean.gate(recorded)


def test_a_split_without_examples_is_refused():
    assert not rows_check("test", 0, 0).passed


def test_the_refusal_is_one_line_with_the_failed_checks_first():
    checks = [Check("a", True, None, None, "a holds"), Check("b", False, 2, 1, "b is 2")]

    refused = GateRefused(checks, "pictures")

    assert str(refused) == "refused, 1 of 2 checks failed: b is 2"
    assert [check.name for check in refused.checks] == ["b", "a"]
    again = pickle.loads(pickle.dumps(refused))
    assert (again.checks, again.shown) == (refused.checks, "pictures")
