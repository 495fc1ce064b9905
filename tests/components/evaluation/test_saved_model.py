"""Which SavedModels can be asked, how, and what is said of the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from components.evaluation.saved_model import (
    GREY_PIXELS,
    IMAGE_FILES,
    PIXELS,
    Model,
    ModelRefused,
    load,
    require_saved_model,
    sum_tolerance,
)
from tests.pipeline.saved_models import (
    brightest_third,
    images,
    save,
    save_for_python_only,
    save_function,
)
from tests.refusals import refusal_of
from trainer.host.paths import PathRefused

GREY = (6, 4, 1)
COLOUR = (6, 4, 3)
FLOATS = tf.TensorSpec([None, *GREY], tf.float32, "scaled")
STRINGS = tf.TensorSpec([None], tf.string, "files")


def fitting(path: Path, image_shape: tuple[int, int, int] = GREY, **changes: Any) -> Model:
    arguments = {"signature": "serving_default", "num_classes": 3, **changes}
    return load(path, image_shape=image_shape, **arguments)


def refusal(path: Path, **changes: Any) -> str:
    return refusal_of(ModelRefused, fitting, path, **changes)


def batch(image_shape: tuple[int, int, int], rows: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """PNG images [N] and their pixels [N, H, W, C], which show the lower third brightest."""
    pixels = np.random.default_rng(0).integers(0, 50, (rows, *image_shape), np.uint8)
    pixels[:, 4:] += 100
    return np.array([tf.io.encode_png(image).numpy() for image in pixels], object), pixels


def tag(path: Path, *tags: str) -> None:
    """Makes of a SavedModel's one graph as many as there are tags."""
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    graph = model.meta_graphs.pop()
    for one in tags:
        graph.meta_info_def.tags[:] = [one]
        model.meta_graphs.add().CopyFrom(graph)
    file.write_bytes(model.SerializeToString())


def decoding(files: tf.Tensor) -> dict[str, tf.Tensor]:
    """[B] PNG -> scores."""

    def decode(file: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_png(file), GREY)

    return brightest_third(tf.map_fn(decode, files, fn_output_signature=tf.uint8))


class TestAsked:
    @pytest.mark.parametrize(
        ("function", "spec", "image_shape", "takes"),
        [
            (brightest_third, images(*GREY), GREY, PIXELS),
            (brightest_third, images(*COLOUR), COLOUR, PIXELS),
            (brightest_third, images(None, None, 1), GREY, PIXELS),
            (brightest_third, images(6, 4), GREY, GREY_PIXELS),
            (decoding, STRINGS, GREY, IMAGE_FILES),
        ],
        ids=["grey", "colour", "any size", "no channel axis", "PNG"],
    )
    def test_a_signature_is_given_what_it_takes(
        self,
        function: Callable[..., Any],
        spec: tf.TensorSpec,
        image_shape: tuple[int, int, int],
        takes: str,
        tmp_path: Path,
    ) -> None:
        model = fitting(save_function(tmp_path, function, spec), image_shape)
        assert (model.takes, model.input, model.output) == (takes, spec.name, "scores")
        predicted = model.probabilities(*batch(image_shape))
        assert (predicted.shape, predicted.dtype) == ((5, 3), np.float64)
        np.testing.assert_allclose(predicted.sum(axis=1), 1.0, rtol=1e-6)
        assert predicted.argmax(axis=1).tolist() == [2] * 5

    def test_the_pipelines_own_model_is_one_of_them(self, tmp_path: Path) -> None:
        path = save(tmp_path, GREY, ("left", "right"))
        model = fitting(path, signature="predict_pixels", num_classes=2)
        assert (model.takes, model.output) == (PIXELS, "probabilities")

    def test_among_several_outputs_the_name_says_which(self, tmp_path: Path) -> None:
        def both(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            scores = brightest_third(pixels)["scores"]
            return {"logits": tf.math.log(scores), "probabilities": scores}

        assert fitting(save_function(tmp_path, both, images(*GREY))).output == "probabilities"

    def test_other_outputs_of_another_kind_are_no_matter(self, tmp_path: Path) -> None:
        def with_index(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            scores = brightest_third(pixels)["scores"]
            return {"scores": scores, "index": tf.argmax(scores, axis=1)}

        assert fitting(save_function(tmp_path, with_index, images(*GREY))).output == "scores"

    @pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
    def test_floats_of_any_width_are_probabilities(self, dtype: tf.DType, tmp_path: Path) -> None:
        def cast(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": tf.cast(tf.round(brightest_third(pixels)["scores"]), dtype)}

        model = fitting(save_function(tmp_path, cast, images(*GREY)))
        assert model.probabilities(*batch(GREY)).tolist() == [[0.0, 0.0, 1.0]] * 5

    @pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
    @pytest.mark.parametrize("given", [None, tf.float32], ids=["as it is", "given as float32"])
    def test_a_softmax_of_narrow_floats_is_one(
        self, dtype: tf.DType, given: tf.DType | None, tmp_path: Path
    ) -> None:
        def softmax(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = tf.cast(pixels[:, 0, :3, 0], dtype) / 16
            return {"scores": tf.cast(tf.nn.softmax(logits), given or dtype)}

        model = fitting(save_function(tmp_path, softmax, images(*GREY)))
        predicted = model.probabilities(*batch(GREY, rows=2000))
        assert 1e-4 < np.abs(predicted.sum(axis=1) - 1).max() <= 4 * 2.0**-8

    def test_a_sum_is_off_by_the_rounding_of_its_type_at_most(self) -> None:
        # (ceil(log2 10) + 2) u = 6 u, of u = 2^-8 and 2^-11
        assert sum_tolerance(np.array([[0.5] + [0.0625] * 9])) == 6 * 2.0**-8
        assert sum_tolerance(np.array([[0.5 + 2.0**-10] + [0.0625] * 9])) == 6 * 2.0**-11
        assert sum_tolerance(np.array([[1 / 3] + [0.0625] * 9])) == 1e-3
        assert sum_tolerance(np.array([[1e9 / 3] * 10])) == 1e-3

    def test_of_several_graphs_the_one_for_serving(self, tmp_path: Path) -> None:
        path = save_function(tmp_path, brightest_third, images(*GREY))
        tag(path, "serve", "train")
        assert fitting(path).probabilities(*batch(GREY)).argmax(axis=1).tolist() == [2] * 5

    def test_what_is_no_number_is_passed_on_for_the_gate_to_count(self, tmp_path: Path) -> None:
        def broken(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": brightest_third(pixels)["scores"] * float("nan")}

        model = fitting(save_function(tmp_path, broken, images(*GREY)))
        assert np.isnan(model.probabilities(*batch(GREY))).all()


class TestRefused:
    @pytest.mark.parametrize(
        ("function", "specs", "line"),
        [
            (
                lambda scaled: {"scores": tf.reduce_mean(scaled, axis=[2, 3])[:, :3]},
                [FLOATS],
                "takes 'scaled' (None, 6, 4, 1) float32, expected one input for any number of "
                "images: files, (None,) string, or pixels from 0 to 255, (None, 6, 4, 1) uint8",
            ),
            (brightest_third, [images(6, 5, 1)], "takes 'images' (None, 6, 5, 1) uint8, expected"),
            (brightest_third, [images(6, 4, 3)], "takes 'images' (None, 6, 4, 3) uint8, expected"),
            (
                brightest_third,
                [tf.TensorSpec([8, *GREY], tf.uint8, "images")],
                "takes 'images' (8, 6, 4, 1) uint8, expected one input for any number of images",
            ),
            (
                lambda images, files: brightest_third(images),
                [images(*GREY), STRINGS],
                "takes 'files' (None,) string and 'images' (None, 6, 4, 1) uint8, expected one",
            ),
            (
                lambda images: {"scores": tf.cast(images[:, :3, 0, 0], tf.int32)},
                [images(*GREY)],
                "gives 'scores' (None, 3) int32, expected 'probabilities', or one output alone, of "
                "floats (None, 3): one for each class of the data set",
            ),
            (
                lambda images: {
                    name: brightest_third(images)["scores"] for name in ("first", "second")
                },
                [images(*GREY)],
                "gives 'first' (None, 3) float32 and 'second' (None, 3) float32, expected 'prob",
            ),
            (
                lambda images: {
                    "probabilities": tf.cast(images[:, :2, 0, 0], tf.float32),
                    "scores": brightest_third(images)["scores"],
                },
                [images(*GREY)],
                "gives 'probabilities' (None, 2) float32 and 'scores' (None, 3) float32, expected",
            ),
        ],
        ids=[
            *("floats", "size", "channels", "fixed batch", "two inputs"),
            *("integers", "two outputs", "probabilities of other classes"),
        ],
    )
    def test_what_does_not_fit_is_said_with_what_does(
        self,
        function: Callable[..., Any],
        specs: list[tf.TensorSpec],
        line: str,
        tmp_path: Path,
    ) -> None:
        said = refusal(save_function(tmp_path, function, *specs))
        assert said.startswith(f"the signature 'serving_default' of {tmp_path} {line}")
        assert "export such a signature, or choose another" in said

    def test_another_number_of_classes(self, tmp_path: Path) -> None:
        path = save_function(tmp_path, brightest_third, images(*GREY))
        said = refusal(path, num_classes=10)
        assert "gives 'scores' (None, 3) float32, expected 'probabilities'" in said
        assert "floats (None, 10)" in said

    def test_a_signature_that_is_not_there(self, tmp_path: Path) -> None:
        path = save_function(tmp_path, brightest_third, images(*GREY), signature="classify")
        assert refusal(path) == (
            f"the model {path} has no signature 'serving_default': choose another; it has classify"
        )

    def test_no_signature_at_all(self, tmp_path: Path) -> None:
        tf.saved_model.save(tf.Module(), str(tmp_path))
        assert refusal(tmp_path).endswith("choose another; it has none")

    def test_a_damaged_saved_model(self, tmp_path: Path) -> None:
        (tmp_path / "saved_model.pb").write_bytes(b"no model")
        assert refusal(tmp_path).startswith(f"the SavedModel in {tmp_path} cannot be loaded: ")

    def test_what_is_no_saved_model_is_said_with_what_to_give(self, tmp_path: Path) -> None:
        for name in ("m.keras", "m.h5", "m.tflite"):
            (tmp_path / name).touch()
        for name in ("empty", "other/notes", "serving/2", "serving/10", "serving/.staging-1"):
            (tmp_path / name).mkdir(parents=True)
        for name in ("serving/2", "serving/10", "serving/.staging-1"):
            save_function(tmp_path / name, brightest_third, images(*GREY))
        give = "give the directory of one, such as that of a released version"
        keras = "it is a Keras file; write a SavedModel with keras.models.load_model(FILE).export"
        for name, said in {
            "none": f"it does not exist; {give}",
            "m.keras": keras,
            "m.h5": keras,
            "m.tflite": f"it is a file; {give}",
            "empty": f"it is empty; {give}",
            "other": f"it holds no saved_model.pb; {give}",
            "serving": f"it holds some, of which {tmp_path}/serving/10 is the last; give that",
        }.items():
            assert refusal_of(ModelRefused, require_saved_model, tmp_path / name).startswith(
                f"there is no SavedModel in {tmp_path / name}: {said}"
            )

    def test_one_without_a_graph_for_serving(self, tmp_path: Path) -> None:
        tag(save_function(tmp_path, brightest_third, images(*GREY)), "train")
        said = refusal(tmp_path)
        assert said.startswith(f"the SavedModel in {tmp_path} cannot be loaded: RuntimeError: ")
        assert "MetaGraphDef associated with tags 'serve' could not be found" in said

    def test_a_directory_that_tensorflow_takes_for_a_pattern(self, tmp_path: Path) -> None:
        path = save_function(tmp_path / "a[b]", brightest_third, images(*GREY))
        said = refusal_of(PathRefused, fitting, path)
        assert said.startswith(f"the model's directory is '{path}', expected a path without '['")


class TestRefusedWhenAsked:
    def _refusal(self, path: Path, **changes: Any) -> str:
        return refusal_of(ModelRefused, fitting(path, **changes).probabilities, *batch(GREY))

    def test_one_that_only_python_can_serve(self, tmp_path: Path) -> None:
        save_for_python_only(tmp_path, GREY)
        assert self._refusal(tmp_path, signature="predict_pixels", num_classes=2) == (
            f"the SavedModel in {tmp_path} cannot be asked: its graph does not restore all "
            "variables and tables that it reads, so TensorFlow Serving cannot serve it; export it "
            "again, as keras.Model.export does"
        )

    def test_logits_are_no_probabilities(self, tmp_path: Path) -> None:
        def logits(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"logits": tf.cast(pixels[:, 3:, 0, 0], tf.float32) * 0.0 + [-1.0, 0.5, 4.0]}

        assert self._refusal(save_function(tmp_path, logits, images(*GREY))) == (
            f"the output 'logits' of the signature 'serving_default' of {tmp_path} holds no "
            "probabilities: those of one image are -1 to 4 and sum to 3.5, expected 0 or more and "
            "a sum of 1 within 0.016; if they are logits, export a signature that ends in a softmax"
        )

    def test_negative_numbers_that_sum_to_one_are_none_either(self, tmp_path: Path) -> None:
        def negative(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"odd": tf.cast(pixels[:, 3:, 0, 0], tf.float32) * 0.0 + [-1.0, 0.5, 1.5]}

        said = self._refusal(save_function(tmp_path, negative, images(*GREY)))
        assert "those of one image are -1 to 1.5 and sum to 1, expected 0 or more" in said

    def test_a_signature_that_fails_says_why(self, tmp_path: Path) -> None:
        def parsing(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            feature = {"x": tf.io.FixedLenFeature([3], tf.float32)}
            return {"scores": tf.io.parse_example(examples, feature)["x"]}

        said = self._refusal(save_function(tmp_path, parsing, STRINGS))
        assert f"'serving_default' of {tmp_path} fails on test images as image files: " in said
        assert said.endswith("choose another signature, or export one that takes them")

    def test_a_shape_that_only_a_prediction_shows(self, tmp_path: Path) -> None:
        def unknown(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            halves = tf.ones([5, 2]) / 2
            return {"scores": tf.compat.v1.placeholder_with_default(halves, [None, None])}

        said = self._refusal(save_function(tmp_path, unknown, images(*GREY)))
        assert "has the shape (5, 2) for 5 images, expected (5, 3)" in said
