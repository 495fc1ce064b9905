"""`monitor` on requests from each kind of source, with a real SavedModel."""

import functools
import json
import operator
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.example_gen.data_error import DataError
from components.example_gen.images import decode
from components.monitoring.counts import summarize
from components.serving_check.classifier import Classifier
from components.serving_dir import MANIFEST_NAME, publish
from pipeline.cli.main import main
from pipeline.served_requests import requests_below
from tests.pipeline import saved_models
from tests.trainer import samples
from tests.trainer.host.test_paths import ordinary_user
from tests.trainer.image_files import declaring
from trainer.features import ImageSpec

Captured = pytest.CaptureFixture[str]

CLASSES = ("left", "right")
SHAPE = (2, 4, 1)


def drawn(rng: np.random.Generator, rows: int, *, right: float = 0.5) -> np.ndarray:
    """Images [rows, 2, 4, 1] uint8, of which about that share is lighter on the right."""
    images = rng.integers(0, 60, (rows, *SHAPE), np.uint8)
    half = np.where(rng.random(rows) < right, 2, 0)
    for image, start in zip(images, half, strict=True):
        image[:, start : start + 2] += 60
    return images


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save(tmp_path_factory.mktemp("model") / "saved", SHAPE, CLASSES)


@pytest.fixture(scope="module")
def classifier(model: Path) -> Classifier:
    return Classifier(model, CLASSES)


@pytest.fixture(scope="module")
def serving(model: Path, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = drawn(np.random.default_rng(0), 1_000)
    serving = tmp_path_factory.mktemp("serving")
    publish(model, serving, record(classifier, images))
    return serving


def record(
    classifier: Classifier, images: np.ndarray, size: str = "2x4", resize: str = ""
) -> dict[str, Any]:
    reference = summarize(
        classifier.probabilities(images),
        intensities=images.mean(axis=(1, 2, 3)) / 255,
        sizes=[size] * len(images),
    )
    shape = list(SHAPE)
    return {
        "dataset": {"class_names": list(CLASSES), "image_shape": shape, "resize": resize},
        "policy": {"floor": 0.9},
        "reference": reference.to_json(),
    }


def write_folder(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{number}.png")
    return folder


def write_log(path: Path, images: np.ndarray, answers: np.ndarray | None, *, png: bool) -> Path:
    """TensorFlow Serving's request log: two images in each request."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for at in range(0, len(images), 2):
            log = prediction_log_pb2.PredictionLog()
            some, inputs = images[at : at + 2], log.predict_log.request.inputs
            if png:
                encoded = [tf.io.encode_png(image).numpy() for image in some]
                inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded))
            else:
                inputs["pixels"].CopyFrom(tf.make_tensor_proto(some))
            if answers is not None:
                outputs = log.predict_log.response.outputs
                outputs["probabilities"].CopyFrom(tf.make_tensor_proto(answers[at : at + 2]))
            writer.write(log.SerializeToString())
    return path


def append(log: Path, *entries: Any) -> None:
    """Writes further entries behind those of a log."""
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(str(log)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(log)) as writer:
        for entry in [*records, *(one.SerializeToString() for one in entries)]:
            writer.write(entry)


def table(classifier: Classifier, images: np.ndarray) -> pd.DataFrame:
    probabilities = classifier.probabilities(images)
    return pd.DataFrame(probabilities, columns=[f"p_{name}" for name in CLASSES])


def monitor(serving: Path, source: Path, capfd: Captured, *words: str) -> tuple[int, dict]:
    words = ("--serving-dir", str(serving), "--requests", str(source), "--json", *words)
    code = main(["monitor", *words])
    return code, json.loads(capfd.readouterr().out)


def drifted(fields: dict) -> list[str]:
    return [test["name"] for test in fields["tests"] if test["drifted"]]


class TestFolder:
    def test_images_like_the_test_split_are_no_drift(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        folder = write_folder(tmp_path / "images" / "deep", drawn(np.random.default_rng(1), 300))
        (folder / "7.png").rename(folder / "7.PNG")
        code, fields = monitor(serving, folder.parent, capfd)
        assert (code, fields["drift"], drifted(fields)) == (0, False, [])
        assert fields["requests"] == {"source": str(folder.parent), "rows": 300, "skipped": 0}
        names = [test["name"] for test in fields["tests"]]
        assert names == ["classes", "confidence", "intensity", "size"]

    @pytest.mark.parametrize(
        ("change", "names"),
        [
            (lambda images: 255 - images, ["intensity"]),
            (lambda images: images + 40, ["intensity"]),
            (lambda images: np.concatenate([images, drawn(RIGHT, 200, right=1.0)]), ["classes"]),
        ],
        ids=["inverted", "brighter", "one class heavy"],
    )
    def test_changed_images_are_drift(
        self, change: object, names: list[str], serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        images = change(drawn(np.random.default_rng(2), 300))
        code, fields = monitor(serving, write_folder(tmp_path / "images", images), capfd)
        assert code == 3
        assert set(names) <= set(drifted(fields))

    def test_images_of_another_size_are_skipped_and_their_size_is_drift(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        folder = write_folder(tmp_path / "images", drawn(np.random.default_rng(1), 200))
        write_folder(tmp_path / "images" / "wide", np.zeros((50, 2, 6, 1), np.uint8))
        (folder / "broken.png").write_bytes(b"?")
        code, fields = monitor(serving, folder, capfd)
        assert (code, drifted(fields)) == (3, ["size"])
        assert fields["requests"]["skipped"] == 51

    @pytest.mark.once  # test_same_pixels.py resizes on both
    def test_a_model_that_resizes_is_asked_about_images_of_any_size(
        self, model: Path, classifier: Classifier, tmp_path: Path, capfd: Captured
    ) -> None:
        def enlarged(seed: int, factor: int) -> np.ndarray:
            images = drawn(np.random.default_rng(seed), 300)
            return images.repeat(factor, axis=1).repeat(factor, axis=2)

        serving, spec = tmp_path / "serving", ImageSpec(SHAPE, CLASSES, "stretch")
        seen = decode(np.array([samples.png(one) for one in enlarged(0, 2)], object), spec)
        publish(model, serving, record(classifier, seen, "4x8", spec.resize))
        folder = write_folder(tmp_path / "images", enlarged(1, 2))
        Image.open(folder / "0.png").save(folder / "0.webp", lossless=True)
        (folder / "1.png").write_bytes(declaring((folder / "1.png").read_bytes(), 30_000, 30_000))
        code, fields = monitor(serving, folder, capfd)
        assert (code, drifted(fields)) == (0, [])
        assert (fields["requests"]["rows"], fields["requests"]["skipped"]) == (300, 1)
        log = write_log(tmp_path / "log", enlarged(1, 3), None, png=False)
        code, fields = monitor(serving, log, capfd)
        assert (code, "size" in drifted(fields)) == (3, True)
        assert fields["requests"]["rows"] == 300
        (tmp_path / "empty").mkdir()
        code, fields = monitor(serving, tmp_path / "empty", capfd)
        assert code == 2
        assert fields["error"].endswith("(0 entries were skipped), expected one at least")


RIGHT = np.random.default_rng(5)


class TestRequestLog:
    @pytest.mark.parametrize("png", [True, False], ids=["PNG", "pixels"])
    @pytest.mark.parametrize("answered", [True, False])
    def test_it_gives_the_same_as_the_images(
        self,
        png: bool,
        answered: bool,
        serving: Path,
        classifier: Classifier,
        tmp_path: Path,
        capfd: Captured,
    ) -> None:
        images = drawn(np.random.default_rng(1), 300)
        answers = classifier.probabilities(images) if answered else None
        log = write_log(tmp_path / "log", images, answers, png=png)
        code, fields = monitor(serving, log, capfd)
        _, expected = monitor(serving, write_folder(tmp_path / "images", images), capfd)
        assert code == 0
        assert fields["tests"] == expected["tests"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("examples", np.array([], object)),
            ("examples", np.array([7])),
            ("examples", np.array([b"no example"], object)),
            ("pixels", np.array(7, np.uint8)),
            *(("pixels", np.zeros(shape, np.uint8)) for shape in ((1, 2, 4), (1, 1, *SHAPE))),
            ("image_bytes", np.array([7.5])),
            ("image_bytes", np.array([b"no image"], object)),
        ],
        ids=str,
    )
    def test_an_odd_entry_is_skipped(
        self, name: str, value: np.ndarray, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        odd, torn, huge = (prediction_log_pb2.PredictionLog() for _ in range(3))
        odd.predict_log.request.inputs[name].CopyFrom(
            tf.make_tensor_proto(value, tf.string if value.dtype == object else None)
        )
        torn.predict_log.request.inputs["pixels"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 2))))
        torn.predict_log.request.inputs["pixels"].tensor_content = b"7"
        pixels = huge.predict_log.request.inputs["pixels"]
        # 1,000 equal images of the right shape
        pixels.CopyFrom(tf.make_tensor_proto(0, tf.uint8, shape=(1_000, *SHAPE)))
        log = write_log(tmp_path / "log", drawn(np.random.default_rng(1), 20), None, png=True)
        append(log, odd, torn, huge)
        _, fields = monitor(serving, log, capfd)
        assert fields["error"] is None
        assert fields["requests"]["rows"] == 20

    def test_entries_of_another_kind_are_skipped(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        from tensorflow_serving.apis import prediction_log_pb2

        log = write_log(tmp_path / "log", drawn(np.random.default_rng(1), 20), None, png=True)
        append(log, prediction_log_pb2.PredictionLog())
        _, fields = monitor(serving, log, capfd)
        assert (fields["requests"]["rows"], fields["requests"]["skipped"]) == (20, 1)

    def test_the_answers_of_an_entry_with_a_broken_image_are_asked_for_again(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        image = drawn(np.random.default_rng(1), 1)[0]
        log = prediction_log_pb2.PredictionLog()
        encoded = [b"no image", tf.io.encode_png(image).numpy()]
        log.predict_log.request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(encoded))
        answers = tf.make_tensor_proto(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32))
        log.predict_log.response.outputs["probabilities"].CopyFrom(answers)
        with tf.io.TFRecordWriter(str(tmp_path / "log")) as writer:
            writer.write(log.SerializeToString())
        _, fields = monitor(serving, tmp_path / "log", capfd)
        assert fields["error"] is None
        assert (fields["requests"]["rows"], fields["requests"]["skipped"]) == (1, 1)

    def test_another_models_answers_are_refused(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        images = drawn(np.random.default_rng(1), 4)
        log = write_log(tmp_path / "log", images, np.full((4, 3), 1 / 3), png=True)
        code, fields = monitor(serving, log, capfd)
        assert code == 2
        assert "have the shape [2, 3], expected [2, 2]: are these requests of" in fields["error"]


class TestTable:
    def test_ids_may_occur_twice_and_labels_be_missing(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        file = tmp_path / "p.csv"
        file.write_text("id,p_right,p_left,label\n" + "a,0,1,left\na,1,0,\nb,0,1,right\n" * 20)
        _, fields = monitor(serving, file, capfd)
        assert fields["requests"]["rows"] == 60
        assert "accuracy 0.5000 of 40 labelled" in fields["tests"][-1]["sentence"]

    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_predictions_alone_leave_images_out(
        self, suffix: str, serving: Path, classifier: Classifier, tmp_path: Path, capfd: Captured
    ) -> None:
        frame, file = table(classifier, drawn(np.random.default_rng(3), 300)), tmp_path / "p"
        file = file.with_suffix(f".{suffix}")
        frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file)
        code, fields = monitor(serving, file, capfd)
        assert (code, [test["name"] for test in fields["tests"]]) == (0, ["classes", "confidence"])
        assert fields["left_out"][0] == "intensity and size: there are no images"

    def test_columns_of_the_images_give_the_same_as_the_images(
        self, serving: Path, classifier: Classifier, tmp_path: Path, capfd: Captured
    ) -> None:
        images, file = drawn(np.random.default_rng(3), 300), tmp_path / "P.CSV"
        intensities = images.mean(axis=(1, 2, 3)) / 255
        frame = table(classifier, images).assign(mean_intensity=intensities, height=2, width=4)
        frame.to_csv(file, index=False)
        code, fields = monitor(serving, file, capfd)
        answers = classifier.probabilities(images)
        log = write_log(tmp_path / "log", images, answers, png=False)
        _, expected = monitor(serving, log, capfd)
        assert code == 0
        assert fields["tests"] == expected["tests"]
        # White, whose mean as float32 may be a little above 1, and black, of one pixel.
        head = "p_left,p_right,mean_intensity,height,width\n"
        file.write_text(head + "1,0,1.0000001,1,1\n0,1,0,1,1\n")
        assert monitor(serving, file, capfd)[1]["error"] is None

    @pytest.mark.parametrize(("wrong", "code"), [(10, 0), (90, 3)])
    def test_labels_hold_the_accuracy_to_the_releases_floor(
        self,
        wrong: int,
        code: int,
        serving: Path,
        classifier: Classifier,
        tmp_path: Path,
        capfd: Captured,
    ) -> None:
        frame = table(classifier, drawn(np.random.default_rng(3), 300))
        right = frame.to_numpy().argmax(axis=1)
        labels = np.array(CLASSES)[np.where(np.arange(300) < wrong, 1 - right, right)]
        frame.assign(label=labels).to_csv(tmp_path / "p.csv", index=False)
        actual, fields = monitor(serving, tmp_path / "p.csv", capfd)
        assert (actual, drifted(fields)) == (code, ["accuracy"] if code else [])
        assert f"accuracy {1 - wrong / 300:.4f} of 300 labelled" in fields["tests"][-1]["sentence"]

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            (
                "p_left,p_up\n1,0\n",
                "of the classes left, up, expected those of the model's classes: left, ri",
            ),
            ("predicted\nleft\n", "has no probabilities, expected those of the model's classes"),
            ("p_left,p_right\n0.5,0.4\n", "row 1 (id '1'): the probabilities sum to 0.9, expected"),
            ("id,p_left,p_right\na,1,0\na,0.5,0.4\n", "row 2 (id 'a'): the probabilities sum to"),
            (
                "p_left,p_right,mean_intensity\n1,0,0.5\n",
                "has no column 'height', expected mean_intensity, height, width, or none of them",
            ),
            *(
                (
                    f"p_left,p_right,mean_intensity,height,width\n1,0,0.5,2,4\n1,0,{image}\n",
                    f"row 2 (id '2'): {line}",
                )
                for image, line in {
                    "87,2,4": "mean_intensity is 87, expected 0 (black) to 1 (white)",
                    "-1,2,4": "mean_intensity is -1, expected 0",
                    "0.5,2.5,4": "height is 2.5, expected a whole number of pixels",
                    "0.5,2,1e300": "width is 1e+300, expected a whole",
                }.items()
            ),
            ("p_left,p_right,label\n1,0,up\n", "the label is 'up', expected one of left, right"),
        ],
    )
    def test_a_table_that_does_not_fit_is_one_line(
        self, content: str, line: str, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        (tmp_path / "p.csv").write_text(content)
        code, fields = monitor(serving, tmp_path / "p.csv", capfd)
        assert code == 2
        assert line in fields["error"]


def test_a_source_that_is_nothing_of_these_is_one_line(
    serving: Path, tmp_path: Path, capfd: Captured
) -> None:
    (tmp_path / "notes.txt").write_text("these are no requests at all\n")
    corrupted = "is no TFRecord of PredictionLog, or is cut off: corrupted record at 0, of "
    os.mkfifo(tmp_path / "pipe")
    pipe = ("pipe", "is a device or pipe, expected a folder or file of requests")
    missing = [(name, "does not exist") for name in ("none", "e" * 256)]
    for name, line in (("notes.txt", corrupted), *missing, pipe):
        code, fields = monitor(serving, tmp_path / name, capfd)
        assert code == 2
        assert line in fields["error"]


def test_requests_in_a_folder_that_cannot_be_read_are_not_left_out() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        for name in ("b/2.png", "a/1.PNG", "3.png"):
            Path(folder, name).parent.mkdir(exist_ok=True)
            Path(folder, name).touch()
        Path(folder).chmod(0o755)
        found = [str(one.relative_to(folder)) for one in requests_below(Path(folder))]
        assert found == ["3.png", "a/1.PNG", "b/2.png"]
        Path(folder, "b").chmod(0)
        with (
            ordinary_user(),
            pytest.raises(DataError, match=r"/b of requests cannot be read: Perm"),
        ):
            requests_below(Path(folder))


def test_requests_behind_a_link_to_a_folder_are_compared_too(tmp_path: Path) -> None:
    # As in a data set, `folder:DIR`. What a system leaves beside files is no request.
    for name in ("day/1.png", "requests/2.png", "requests/._2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    requests = tmp_path / "requests"
    (requests / "today").symlink_to(tmp_path / "day")
    (requests / "above").symlink_to(tmp_path / "requests")
    assert requests_below(requests) == [requests / "2.png", requests / "today" / "1.png"]


def test_a_version_without_a_summary_is_one_line(
    model: Path, tmp_path: Path, capfd: Captured
) -> None:
    publish(model, tmp_path / "serving", {"dataset": {"class_names": CLASSES}})
    code, fields = monitor(tmp_path / "serving", tmp_path, capfd)
    assert code == 1
    assert "has no summary of its test split" in fields["error"]


def publish_foreign(
    model: Path, serving: Path, release: dict[str, Any], place: str, value: object
) -> None:
    """Publishes a version, and writes a value into its release record; None takes out its place."""
    manifest = publish(model, serving, release).path / MANIFEST_NAME
    content = json.loads(manifest.read_text())
    *parents, last = place.split(".")
    inner = functools.reduce(operator.getitem, parents, content["release"])
    inner.pop(last) if value is None else inner.update({last: value})
    manifest.write_text(json.dumps(content))


NO_SUMMARY = "has no summary of its test split, expected a version of a release since this command"
NO_INPUT = "does not say which images its model takes ("


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("policy", [1], "manifest.json is damaged: release.policy is [1], expected an object; re"),
        ("policy.floor", "x", "policy.floor is 'x', expected a number from 0 to 1; restore"),
        ("dataset.resize", 3, "release.dataset.resize is 3, expected a text; restore its files"),
        ("dataset.resize", "zoom", f"{NO_INPUT}resize is 'zoom', expected one of pad, stretch"),
        ("dataset.image_shape", None, f"{NO_INPUT}its data set has no image_shape)"),
        ("dataset.image_shape", [0, 4, 1], f"{NO_INPUT}image_shape is (0, 4, 1), expected"),
        ("dataset.class_names", None, f"{NO_INPUT}its data set has no class_names)"),
        ("dataset.class_names", ["a"], f"{NO_INPUT}class_names holds 1 names, expected 2 or more)"),
        ("dataset", None, f"{NO_INPUT}its data set has no image_shape)"),
        ("reference", summarize(np.eye(3)).to_json(), "of 3 classes, expected the 2 of its data s"),
        ("reference", "x", NO_SUMMARY),
        ("reference.sizes", {"2x4": 999, "axb": 1}, NO_SUMMARY),
        ("reference.sizes", {"9" * 5_000 + "x1": 1_000}, NO_SUMMARY),
        ("reference", summarize(np.empty((0, 2))).to_json(), NO_SUMMARY),
    ],
)
def test_a_record_that_somebody_else_wrote_is_one_line(
    place: str,
    value: object,
    line: str,
    model: Path,
    classifier: Classifier,
    tmp_path: Path,
    capfd: Captured,
) -> None:
    images = drawn(np.random.default_rng(0), 1_000)
    publish_foreign(model, tmp_path / "serving", record(classifier, images), place, value)
    (tmp_path / "p.csv").write_text("p_left,p_right,label\n0.5,0.5,left\n")
    code, fields = monitor(tmp_path / "serving", tmp_path / "p.csv", capfd)
    assert code == 1
    assert line in fields["error"]


@pytest.mark.parametrize(
    ("shape", "source", "said", "code"),
    [
        *(
            (shape, "folder", f"does not take images of the shape {shape} or does not", 1)
            for shape in ([2, 4, 2], [2, 4, 3], [4, 4, 1])
        ),
        ([2, 4, 3], "log", "does not take images of the shape [2, 4, 3] or does not know 2", 1),
        ([2, 4, 2], "log", "no request that the model can take (20 entries were skipped, with", 2),
        ([4, 4, 1], "log", "with images of 2x4), expected one at least of 4x4 pixels", 2),
    ],
)
def test_a_record_of_other_images_than_the_model_takes_is_one_line(
    shape: list[int],
    source: str,
    said: str,
    code: int,
    model: Path,
    classifier: Classifier,
    tmp_path: Path,
    capfd: Captured,
) -> None:
    images = drawn(np.random.default_rng(0), 20)
    own = record(classifier, images)
    publish_foreign(model, tmp_path / "serving", own, "dataset.image_shape", shape)
    if source == "folder":
        requests = write_folder(tmp_path / "requests", images)
    else:
        requests = write_log(tmp_path / "requests", images, None, png=True)
    ended, fields = monitor(tmp_path / "serving", requests, capfd)
    assert ended == code
    assert said in fields["error"]


def test_a_record_of_larger_images_than_tensorflow_knows_is_one_line(
    model: Path, classifier: Classifier, tmp_path: Path, capfd: Captured
) -> None:
    images, shape = drawn(np.random.default_rng(0), 20), [2, 1 << 40, 1]
    own = record(classifier, images)
    publish_foreign(model, tmp_path / "serving", own, "dataset.image_shape", shape)
    requests = write_log(tmp_path / "requests", images, None, png=True)
    # TensorFlow 2.16 raises an error, and 2.21 finds no image of that shape.
    said = {1: f"decodes no images of the shape {shape}", 2: "holds no request that the model can"}
    ended, fields = monitor(tmp_path / "serving", requests, capfd)
    assert said[ended] in fields["error"]


def test_a_page_that_cannot_be_written_is_refused_before(
    serving: Path, tmp_path: Path, capfd: Captured
) -> None:
    folder = write_folder(tmp_path / "images", drawn(np.random.default_rng(1), 20))
    code, fields = monitor(serving, folder, capfd, "--report", str(tmp_path / "none" / "x.html"))
    assert code == 2
    assert "x.html: expected a regular file in an existing directory" in fields["error"]
    assert not (tmp_path / "none").exists()


def test_the_page_shows_tests_and_distributions(
    serving: Path, tmp_path: Path, capfd: Captured
) -> None:
    folder = write_folder(tmp_path / "<images>", 255 - drawn(np.random.default_rng(2), 300))
    page = tmp_path / "page.html"
    words = ["monitor", "--serving-dir", str(serving), "--requests", str(folder)]
    assert main([*words, "--report", str(page)]) == 3
    shown = capfd.readouterr().out
    assert shown.endswith(f"report: {page}\n")
    assert "  drift: intensity: the distributions are" in shown
    assert "  alike: size: the distributions are" in shown
    html = page.read_text()
    assert "The requests are not like the test split of the release" in html
    assert "&lt;images&gt;" in html
    assert "<script" not in html
    for title in ("Predicted class", "Confidence", "Mean intensity", "Size: height"):
        assert f"<h2>{title}" in html


@pytest.mark.parametrize("word", ["--level=2", "--tolerance=x"])
def test_bounds_out_of_range_are_refused(word: str, serving: Path, capfd: Captured) -> None:
    assert monitor(serving, serving, capfd, word)[0] == 2
