"""From an image file to probabilities: decoding, pixels, and what the model says."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.serving_check.classifier import (
    Classifier,
    ImageError,
    ModelError,
    classify,
    read_pixels,
)
from tests.limits import limited
from tests.pipeline import saved_models
from tests.refusals import refusal_of
from tests.trainer.host.test_files import STAND_INS
from tests.trainer.image_files import png_of, transparent_png
from trainer import features
from trainer.features import ImageSpec
from trainer.image_graph import to_pixels

GREY = (2, 4, 1)
COLOUR = (2, 4, 3)


def write(path: Path, pixels: object, *, mode: str | None = None, **options: object) -> Path:
    """An image file of an array [H, W] or [H, W, C]."""
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


READ_EIGHT_TIMES = """
import sys
from pathlib import Path
from components.serving_check.classifier import ImageError, read_pixels
for _ in range(8):
    try:
        read_pixels(Path(sys.argv[1]), (28, 28, 1))
    except ImageError as error:
        print(error)
"""


def png_of_zeros(width: int, height: int, *, rows: int) -> bytes:
    """An RGBA file with that many of its rows, all of them transparent: a thousandth in size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    stream = zlib.compressobj(1)
    pixels = b"".join(stream.compress(bytes(1 + 4 * width)) for _ in range(rows)) + stream.flush()
    return png_of({"IHDR": header, "IDAT": pixels, "IEND": b""})


@pytest.fixture
def grey() -> np.ndarray:
    return np.arange(8, dtype=np.uint8).reshape(2, 4) * 30


class TestPixels:
    def test_a_grey_png_is_taken_as_it_is(self, grey: np.ndarray, tmp_path: Path) -> None:
        pixels = read_pixels(write(tmp_path / "image.png", grey), GREY)
        assert (pixels.shape, pixels.dtype) == (GREY, np.uint8)
        np.testing.assert_array_equal(pixels[..., 0], grey)

    def test_grey_becomes_equal_colours(self, grey: np.ndarray, tmp_path: Path) -> None:
        pixels = read_pixels(write(tmp_path / "image.png", grey), COLOUR)
        np.testing.assert_array_equal(pixels, np.stack([grey] * 3, axis=-1))

    def test_colours_become_grey_by_their_luma(self, tmp_path: Path) -> None:
        colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]] * 2, np.uint8)
        pixels = read_pixels(write(tmp_path / "image.png", colours), GREY)
        # 0.299, 0.587 and 0.114 times 255
        np.testing.assert_array_equal(pixels[0, :, 0], [76, 150, 29, 255])

    def test_a_jpeg_is_taken(self, tmp_path: Path) -> None:
        path = write(tmp_path / "image.jpg", np.full((2, 4, 3), 200, np.uint8), quality=95)
        np.testing.assert_allclose(read_pixels(path, COLOUR), 200, atol=2)

    def test_the_name_of_the_file_says_nothing(self, grey: np.ndarray, tmp_path: Path) -> None:
        path = write(tmp_path / "image", grey, format="PNG")
        np.testing.assert_array_equal(read_pixels(path, GREY)[..., 0], grey)

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_through_what_is_transparent_black_is_seen(self, mode: str, tmp_path: Path) -> None:
        image = Image.new(mode, (4, 2), (200,) * (len(mode) - 1) + (255,))
        image.putpixel((1, 0), (200,) * (len(mode) - 1) + (0,))
        image.putpixel((2, 0), (200,) * (len(mode) - 1) + (128,))
        image.save(tmp_path / "image.png")
        # 200 * 128 / 255 = 100.4
        for shape in (GREY, COLOUR):
            row = read_pixels(tmp_path / "image.png", shape)[0, :, 0]
            np.testing.assert_array_equal(row, [200, 0, 100, 200])

    def test_a_palette_with_a_transparent_entry_is_taken(self, tmp_path: Path) -> None:
        image = Image.new("P", (4, 2), 1)
        image.putpalette([9, 9, 9, 100, 100, 100])
        image.putpixel((0, 0), 0)
        image.save(tmp_path / "image.png", transparency=0)
        row = read_pixels(tmp_path / "image.png", GREY)[0, :, 0]
        np.testing.assert_array_equal(row, [0, 100, 100, 100])

    @pytest.mark.parametrize(
        ("depth", "values", "transparent", "seen"),
        [
            (1, [0, 1, 1, 0], 1, [0, 0, 0, 0]),
            # 255 / 3 = 85, 255 / 15 = 17
            (2, [1, 2, 3, 0], 3, [85, 170, 0, 0]),
            (4, [1, 2, 15, 7], 7, [17, 34, 255, 0]),
            (8, [1, 2, 255, 7], 2, [1, 0, 255, 7]),
            (16, [0xFF00, 0x1234, 0x1235, 0x8000], 0xFF00, [0, 0x12, 0x12, 0x80]),
            (16, [0xFF00, 0x1234, 0x1235, 0x8000], 0x1234, [0xFF, 0, 0x12, 0x80]),
        ],
    )
    def test_a_transparent_grey_is_seen_as_black(
        self, depth: int, values: list[int], transparent: int, seen: list[int], tmp_path: Path
    ) -> None:
        path = tmp_path / "image.png"
        path.write_bytes(transparent_png(depth=depth, values=values, transparent=[transparent]))
        for shape in ((1, 4, 1), (1, 4, 3)):
            np.testing.assert_array_equal(read_pixels(path, shape)[0, :, 0], seen)

    @pytest.mark.parametrize(("depth", "low"), [(8, 0), (16, 0x34)])
    def test_a_transparent_colour_is_seen_as_black(
        self, depth: int, low: int, tmp_path: Path
    ) -> None:
        def of_depth(colour: list[int]) -> list[int]:
            return colour if depth == 8 else [(value << 8) + low for value in colour]

        colours = [[9, 8, 7], [0x34, 0x34, 0x34], [200, 100, 50]]
        path, values = tmp_path / "image.png", list(map(of_depth, colours))
        transparent = of_depth([9, 8, 7])
        path.write_bytes(transparent_png(depth=depth, values=values, transparent=transparent))
        np.testing.assert_array_equal(read_pixels(path, (1, 3, 3))[0], [[0, 0, 0], *colours[1:]])

    def test_one_bit_is_black_and_white(self, tmp_path: Path) -> None:
        path = write(tmp_path / "image.png", [[True, False, True, False]] * 2)
        np.testing.assert_array_equal(read_pixels(path, GREY)[0, :, 0], [255, 0, 255, 0])

    def test_of_16_bits_the_upper_8_are_taken(self, tmp_path: Path) -> None:
        path = write(tmp_path / "image.png", np.array([[0, 255, 256, 65535]] * 2, np.uint16))
        np.testing.assert_array_equal(read_pixels(path, GREY)[0, :, 0], [0, 0, 1, 255])

    def test_an_image_is_turned_upright(self, grey: np.ndarray, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # orientation: the first row is the right side
        path = write(tmp_path / "image.png", np.rot90(grey), exif=exif)
        np.testing.assert_array_equal(read_pixels(path, GREY)[..., 0], grey)

    def test_another_size_is_refused_with_both(self, grey: np.ndarray, tmp_path: Path) -> None:
        path = write(tmp_path / "image.png", grey.T)
        assert refusal_of(ImageError, read_pixels, path, GREY) == (
            "is 2 pixels wide and 4 high, expected 4 and 2: scale it to 4x2"
        )


class TestUnreadable:
    def _refusal(self, path: Path) -> str:
        return refusal_of(ImageError, read_pixels, path, (64, 64, 1))

    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert self._refusal(tmp_path / "none.png") == (
            "cannot be read: No such file or directory; give another file"
        )

    def test_a_directory(self, tmp_path: Path) -> None:
        assert self._refusal(tmp_path).startswith("cannot be read: Is a directory")

    @pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
    def test_a_file_that_is_no_image(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "image.png").write_bytes(content)
        assert self._refusal(tmp_path / "image.png") == (
            "is no image that the model takes: convert it to PNG"
        )

    def test_an_image_of_another_kind(self, grey: np.ndarray, tmp_path: Path) -> None:
        write(tmp_path / "image.png", grey, format="BMP")
        assert "is no image that the model takes: convert it to PNG" in self._refusal(
            tmp_path / "image.png"
        )

    @pytest.mark.parametrize("format_", ["PNG", "JPEG"])
    def test_a_truncated_file(self, format_: str, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(buffer, format_)
        content = buffer.getvalue()
        (tmp_path / "image").write_bytes(content[: len(content) // 2])
        assert self._refusal(tmp_path / "image").startswith("cannot be read: ")

    def test_more_pixels_than_pillow_reads_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "image.png").write_bytes(png_of_zeros(20_000, 20_000, rows=1))
        assert "is 20000x20000 pixels, expected at most 89,478,485 in all" in self._refusal(
            tmp_path / "image.png"
        )

    def test_large_images_are_refused_by_their_headers_in_little_memory(
        self, tmp_path: Path
    ) -> None:
        """Just below Pillow's own limit of 89 million pixels: 354 MB each, beside 90 MB."""
        path = tmp_path / "image.png"
        path.write_bytes(png_of_zeros(9400, 9400, rows=9400))
        done = limited(READ_EIGHT_TIMES, path, address_space_bytes=400 << 20)
        assert (done.returncode, done.stderr) == (0, "")
        assert (
            done.stdout.splitlines()
            == ["is 9400 pixels wide and 9400 high, expected 28 and 28: scale it to 28x28"] * 8
        )

    @pytest.mark.parametrize("name", ["FIFO", "endless device", "loop", "socket", "sparse file"])
    def test_what_is_no_file_of_a_picture_is_refused_at_once(
        self, name: str, tmp_path: Path
    ) -> None:
        make, said = STAND_INS[name]
        make(tmp_path / "there")
        done = limited(READ_EIGHT_TIMES, tmp_path / "there")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"cannot be read: {said.removesuffix('100')}")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.save(tmp_path_factory.mktemp("grey") / "model", GREY, ("left", "right"))


class TestClassifier:
    def test_the_signature_says_which_images_it_takes(self, model: Path) -> None:
        assert Classifier(model, ("left", "right")).image_shape == GREY

    def test_classes_come_with_names_and_probabilities_the_most_probable_first(
        self, model: Path
    ) -> None:
        pixels = np.array([[0, 0, 51, 51]] * 2, np.uint8).reshape(GREY)
        answer = Classifier(model, ("left", "right")).predict(pixels)
        left, right = saved_models.probabilities([0, 51])
        assert (answer.class_index, answer.class_name) == (1, "right")
        assert [p.class_name for p in answer.probabilities] == ["right", "left"]
        assert [p.class_index for p in answer.probabilities] == [1, 0]
        np.testing.assert_allclose(
            [p.probability for p in answer.probabilities], [right, left], rtol=1e-6
        )

    def test_without_fitting_names_classes_go_by_their_numbers(self, model: Path) -> None:
        answer = Classifier(model, ()).predict(np.zeros(GREY, np.uint8))
        assert [p.class_name for p in answer.probabilities] == ["0", "1"]

    def test_a_colour_model_takes_colours(self, tmp_path: Path) -> None:
        path = saved_models.save(tmp_path / "model", COLOUR, ("left", "right"))
        classifier = Classifier(path, ())
        assert classifier.image_shape == COLOUR
        assert classifier.predict(np.zeros(COLOUR, np.uint8)).class_name == "left"

    def test_a_model_of_other_channels_is_refused(self, tmp_path: Path) -> None:
        path = saved_models.save(tmp_path / "model", (2, 4, 2), ("left", "right"))
        with pytest.raises(ModelError, match=r"takes images of 2 channels, expected 1 \(grey\) or"):
            Classifier(path, ())

    def test_one_in_a_directory_that_tensorflow_takes_for_a_pattern(self, tmp_path: Path) -> None:
        path = saved_models.save(tmp_path / "a[b]", GREY, ("left", "right"))
        with pytest.raises(ModelError, match=r"the model's directory is '.*', expected a path wit"):
            Classifier(path, ())

    def test_one_that_only_python_can_serve(self, tmp_path: Path) -> None:
        classifier = Classifier(saved_models.save_for_python_only(tmp_path, GREY), ())
        with pytest.raises(ModelError, match=r"graph does not restore .* release a new one"):
            classifier.predict(np.zeros(GREY, np.uint8))

    @pytest.mark.parametrize("content", [b"no model", b""])
    def test_what_is_no_model_is_refused_in_one_line(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "saved_model.pb").write_bytes(content)
        with pytest.raises(ModelError, match="cannot be used, expected one that") as caught:
            Classifier(tmp_path, ())
        assert "\n" not in str(caught.value)


class TestClassify:
    def test_each_file_has_its_answer_in_order(
        self, model: Path, grey: np.ndarray, tmp_path: Path
    ) -> None:
        paths = [
            write(tmp_path / "left.png", grey[:, ::-1]),
            tmp_path / "none.png",
            write(tmp_path / "small.png", grey[:1]),
            write(tmp_path / "right.png", grey),
        ]
        left, none, small, right = classify(paths, model, ("left", "right"))
        assert (left.class_name, right.class_name) == ("left", "right")
        assert (type(none), type(small)) == (ImageError, ImageError)

    def test_without_an_image_no_model_is_loaded(self, tmp_path: Path) -> None:
        (answer,) = classify([tmp_path / "none.png"], tmp_path / "no model", ())
        assert isinstance(answer, ImageError)


class Resizing(tf.Module):
    """Its logits are the means of the left and the right half of what `to_pixels` gives."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self._spec = spec
        encoded = tf.TensorSpec([None], tf.string, features.IMAGE_BYTES_INPUT)
        pixels = tf.TensorSpec([None, None, None, 1], tf.uint8, features.PIXELS_INPUT)
        self.made = {
            features.SERVING_DEFAULT: self._encoded.get_concrete_function(encoded),
            features.PREDICT_PIXELS: self._pixels.get_concrete_function(pixels),
        }

    @tf.function(autograph=False)
    def _encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.cast(to_pixels(image_bytes, self._spec), tf.float32)
        halves = tf.reduce_mean(tf.stack(tf.split(pixels, 2, axis=2), axis=1), axis=[2, 3, 4])
        index = tf.argmax(halves, axis=1)
        return {
            features.PROBABILITIES: tf.nn.softmax(halves),
            features.CLASS_NAME: tf.gather(["left", "right"], index),
            features.CLASS_INDEX: index,
        }

    @tf.function(autograph=False)
    def _pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._encoded(tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string))


@pytest.fixture(scope="module")
def resizing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = Resizing(ImageSpec((4, 4, 1), ("left", "right"), "stretch"))
    path = tmp_path_factory.mktemp("resizing") / "1"
    tf.saved_model.save(model, str(path), signatures=model.made)
    return path


def test_a_model_that_resizes_is_given_files_of_every_size_and_format(
    resizing: Path, tmp_path: Path
) -> None:
    right = np.zeros((30, 60, 3), np.uint8)
    right[:, 30:] = 200
    image = Image.fromarray(right)
    files = []
    for name, options in {
        "a.png": {},
        "a.jpg": {"quality": 95},
        "a.webp": {"lossless": True},
        "a.gif": {},
        "a.bmp": {},
    }.items():
        files.append(tmp_path / name)
        image.save(files[-1], **options)  # type: ignore[arg-type]
    files.append(tmp_path / "palette.bmp")
    image.convert("P").save(files[-1])
    for number, orientation in ((2, "left"), (3, "left"), (4, "right")):
        exif = Image.Exif()
        exif[0x0112] = number
        for suffix in ("jpg", "png", "webp"):
            files.append(tmp_path / f"{orientation}{number}.{suffix}")
            image.save(files[-1], exif=exif)
    found = list(classify(files, resizing, ("left", "right")))
    names = [getattr(one, "class_name", str(one)) for one in found]
    assert names == ["right"] * 6 + ["left"] * 6 + ["right"] * 3


def test_a_damaged_file_is_refused_also_where_the_model_resizes(
    resizing: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (error,) = classify([tmp_path / "cut.png"], resizing, ())
    assert isinstance(error, ImageError)
    # Pillow does not mind that only the end is missing.
    assert str(error).startswith("cannot be decoded by TensorFlow: it is damaged")
