import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tiny_sets
from tensorflow_datasets.core.download.checksums import UrlInfo

from components.example_gen import downloads
from components.example_gen.data_config import DataConfig
from components.example_gen.data_error import DataError
from components.example_gen.encoded import PNG_SIGNATURE
from components.example_gen.image_set import ImageSet, SourceRows
from components.example_gen.opening import open_dataset
from components.example_gen.sources import find_name, parse_dataset
from components.example_gen.tfds_sets import find_keys
from tests import http_servers
from tests.refusals import refusal_of


def everything_below(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


def refusal(text: str, directory: Path) -> str:
    """The message; and nothing was written."""
    before = everything_below(directory)
    line = refusal_of(DataError, open_dataset, text, data_dir=str(directory / "tfds"))
    assert everything_below(directory) == before
    return line


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests go to a proxy that is not there: port 9 of this machine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_network")
class TestWithoutNetwork:
    def test_a_prepared_set_is_used_as_it_is(self, tmp_path: Path) -> None:
        tiny_sets.TinyDays(data_dir=tmp_path).download_and_prepare()
        before = everything_below(tmp_path)
        image_set = open_dataset("tiny_days", data_dir=str(tmp_path))
        assert (image_set.rows("train"), image_set.rows("test")) == (40, 10)
        info = image_set.info
        assert (info.image_shape, info.resize) == ((4, 5, 3), "")
        assert info.class_names == ("day", "night")
        assert everything_below(tmp_path) == before

    def test_another_version_of_a_set_that_is_only_here_is_refused_with_the_one_that_is(
        self, tmp_path: Path
    ) -> None:
        tiny_sets.TinyDays(data_dir=tmp_path / "tfds").download_and_prepare()
        (tmp_path / "tfds" / "tiny_days").rename(tmp_path / "tfds" / "days_of_others")  # no code
        open_dataset("days_of_others:1.2.0", data_dir=str(tmp_path / "tfds"))
        assert refusal("days_of_others:1.3.0", tmp_path) == (
            "dataset 'days_of_others:1.3.0' cannot be loaded: version 1.3.0 is unknown; expected "
            "1.2.0"
        )

    def test_a_set_that_needs_no_download_is_prepared(self, tmp_path: Path) -> None:
        data_dir = tmp_path / "tfds"
        open_dataset("tiny_days:1.2.0", data_dir=str(data_dir))
        assert [path.name for path in data_dir.iterdir()] == ["tiny_days"]
        assert os.listdir(data_dir / "tiny_days") == ["1.2.0"]

    def test_a_set_to_download_is_refused_with_the_ways_out(self, tmp_path: Path) -> None:
        message = refusal("mnist", tmp_path)
        assert "'mnist' is not prepared yet and cannot be downloaded: storage.goog" in message
        assert "use --dataset mnist_sample" in message
        assert "or --dataset idx:DIR" in message

    def test_a_set_that_this_user_may_not_read_is_not_said_to_be_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path) -> list[str]:  # root may read everything
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(os, "listdir", refuse)
        assert f"{tmp_path}/tfds/mnist/3.0.1: cannot be read (Permission denied)" in (
            refusal("mnist", tmp_path)
        )

    def test_a_path_without_its_word_is_asked_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photos" / "fruit").mkdir(parents=True)
        (tmp_path / "t.csv").touch()
        for text in ("photos", "./photos", "photos/fruit"):
            hint = f"did you mean 'folder:{text}' or 'idx:{text}'? expected mnist_sample ("
            assert hint in refusal(text, tmp_path)
        assert "did you mean 'csv:t.csv'? expected" in refusal("t.csv", tmp_path)

    def test_a_path_behind_another_word_is_asked_for_the_right_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "photos").mkdir()
        (tmp_path / "t.csv").touch()
        assert "did you mean 'folder:~/photos' or" in refusal("images:~/photos", tmp_path)
        assert "did you mean 'csv:~/t.csv'? exp" in refusal("parquet: ~/t.csv", tmp_path)
        (tmp_path / "x.npz").touch()
        assert "is 'numpy:~/x.npz', expected mnist_sample" in refusal("numpy:~/x.npz", tmp_path)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "fashon_mnist",
                "unknown dataset 'fashon_mnist': did you mean 'fashion_mnist'? expected mnist_sam",
            ),
            ("mnist_sampel", "did you mean 'mnist_sample'"),
            (
                "emnist/balancd",
                "unknown config 'balancd': did you mean 'balanced'? expected one of byclass",
            ),
            ("mnist/x", "unknown config 'x': expected none"),
            ("mnist:9.9.9", "version 9.9.9 is unknown; expected 3.0.1"),
            ("imdb_reviews", "'imdb_reviews' has no image feature"),
            (
                "tf_flowers",
                "images of differing shapes (declared ?x?x3); choose the network's, such as --set "
                "data.image_size=64",
            ),
        ],
    )
    def test_what_cannot_be_used_is_refused_before_its_download(
        self, text: str, said: str, tmp_path: Path
    ) -> None:
        assert said in refusal(text, tmp_path)


@pytest.mark.parametrize("is_prepared", [False, True])
def test_a_set_without_a_train_split_is_refused(is_prepared: bool, tmp_path: Path) -> None:
    if is_prepared:
        tiny_sets.TinyTestOnly(data_dir=tmp_path / "tfds").download_and_prepare()
    assert "'tiny_test_only' has no split 'train', only test" in refusal("tiny_test_only", tmp_path)


def images_of(image_set: ImageSet, split: str) -> set[bytes]:
    return {
        image
        for shard in image_set.shards_of(split)
        for rows in image_set.read(shard)
        for image in rows.images
    }


def test_a_set_without_a_test_split_is_cut_by_content(tmp_path: Path) -> None:
    data = DataConfig(test_fraction=0.3)
    image_set = open_dataset("tiny_train_only", data, data_dir=str(tmp_path))
    train, test = images_of(image_set, "train"), images_of(image_set, "test")
    assert (len(train), len(test)) == (image_set.rows("train"), image_set.rows("test"))
    assert (len(train | test), len(train & test)) == (40, 0)
    assert image_set.info.test_rows == len(test)
    of_test, of_train = (image_set.num_bytes[split] for split in ("test", "train"))
    assert of_test / (of_test + of_train) == pytest.approx(len(test) / 40, abs=0.01)
    expected = int(0.3 * 2**64)
    firsts = {
        image: int.from_bytes(hashlib.sha256(image).digest()[:8], "big") for image in train | test
    }
    assert test == {image for image, first in firsts.items() if first < expected}
    assert (image_set.info.image_shape, image_set.info.resize) == ((4, 5, 3), "")
    # As ExampleGen opens what the plan has found.
    planned = DataConfig(**image_set.info.data)
    assert open_dataset("tiny_train_only", planned, data_dir=str(tmp_path)).info == image_set.info


def test_another_fraction_is_another_set(tmp_path: Path) -> None:
    first, second = (
        open_dataset("tiny_train_only", DataConfig(test_fraction=each), data_dir=str(tmp_path))
        for each in (0.2, 0.4)
    )
    assert first.info != second.info


def test_a_setting_that_changes_nothing_makes_no_other_set(tmp_path: Path) -> None:
    first, *others = (
        open_dataset("tiny_days", data, data_dir=str(tmp_path))
        for data in (DataConfig(), DataConfig(test_fraction=0.4), DataConfig(skip_unreadable=3))
    )
    assert [other.info for other in others] == [first.info] * 2


def test_images_of_differing_sizes_are_told_once_they_are_prepared(tmp_path: Path) -> None:
    tiny_sets.TinyPhotos(data_dir=tmp_path).download_and_prepare()
    with pytest.raises(DataError, match=r"differing sizes: 4x6 the smallest, .* 12x9 the largest"):
        open_dataset("tiny_photos", data_dir=str(tmp_path))
    image_set = open_dataset("tiny_photos", DataConfig(image_size="8"), data_dir=str(tmp_path))
    assert (image_set.info.image_shape, image_set.info.resize) == ((8, 8, 3), "pad")
    assert image_set.info.sizes is not None
    assert (image_set.info.sizes[0], image_set.info.sizes[2]) == ((4, 6), (12, 9))
    assert len(images_of(image_set, "train")) == image_set.rows("train") == 40
    assert all(image.startswith(b"\xff\xd8") for image in images_of(image_set, "test"))


def test_jpeg_of_one_size_keep_it(tmp_path: Path) -> None:
    info = open_dataset("tiny_jpegs", data_dir=str(tmp_path)).info
    assert (info.image_shape, bool(info.resize), info.sizes) == ((4, 5, 3), True, None)
    # Whether they are PNG is told by the first one.
    assert open_dataset("tiny_jpeg", data_dir=str(tmp_path)).info.resize == ""


def test_what_tensorflow_would_decode_wrong_is_stored_as_png(tmp_path: Path) -> None:
    data = DataConfig(image_size="4", resize="stretch")
    image_set = open_dataset("tiny_bitmaps", data, data_dir=str(tmp_path))
    assert (image_set.info.image_shape, image_set.info.resize) == ((4, 4, 1), "stretch")
    images = images_of(image_set, "train") | images_of(image_set, "test")
    assert len(images) == 50
    assert all(image.startswith(PNG_SIGNATURE) for image in images)


def test_one_image_in_colour_makes_a_set_that_declares_no_channels_one_of_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = tf.io.encode_png(np.full((4, 5, 3), [200, 0, 0], np.uint8)).numpy()
    monkeypatch.setattr(tiny_sets.TinyBitmaps, "instead", colour)
    image_set = open_dataset("tiny_bitmaps", DataConfig(image_size="4"), data_dir=str(tmp_path))
    assert image_set.info.image_shape == (4, 4, 3)


def test_an_image_that_cannot_be_looked_at_is_refused_with_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_sets.TinyBitmaps, "instead", b"no image")
    monkeypatch.setattr("components.example_gen.images.BATCH_ROWS", 3)
    builder = tiny_sets.TinyBitmaps(data_dir=tmp_path)
    builder.download_and_prepare()
    (file,) = builder.info.splits["train"].filepaths
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    row = [b"no image" in record for record in records].index(True)
    assert row >= 3  # not in the first batch
    place = rf"the image in row {row} of shard 0 of split 'train' cannot be read \(.* remove "
    with pytest.raises(DataError, match=place):
        open_dataset("tiny_bitmaps", DataConfig(image_size="4"), data_dir=str(tmp_path))


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tfds").touch()
    assert "choose another --data-dir" in refusal("tiny_days", tmp_path)


def prepare(builder: tfds.core.DatasetBuilder, split: str = "test") -> Path:
    """Prepares the set; the file of its split."""
    builder.download_and_prepare()
    (path,) = builder.info.splits[split].filepaths
    return Path(path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_fingerprint_follows_the_prepared_content(split: str, tmp_path: Path) -> None:
    path = prepare(tiny_sets.TinyDays(data_dir=tmp_path), split)
    before = open_dataset("tiny_days", data_dir=str(tmp_path)).info.fingerprint
    path.write_bytes(path.read_bytes()[:-1])
    assert open_dataset("tiny_days", data_dir=str(tmp_path)).info.fingerprint != before


def test_a_prepared_set_whose_file_is_gone_is_refused(tmp_path: Path) -> None:
    prepare(tiny_sets.TinyDays(data_dir=tmp_path)).unlink()
    with pytest.raises(DataError, match=r"cannot be read .* remove .*/tiny_days/1.2.0 to have it"):
        open_dataset("tiny_days", data_dir=str(tmp_path))


@pytest.mark.parametrize("left", [0, 39])
@pytest.mark.parametrize("kind", [tiny_sets.TinyTrainOnly, tiny_sets.TinyPhotos])
def test_a_prepared_set_that_has_lost_images_is_refused_when_they_are_looked_at(
    kind: type[tiny_sets.TinyBuilder], left: int, tmp_path: Path
) -> None:
    builder = kind(data_dir=tmp_path)
    file = str(prepare(builder, "train"))
    records = list(tf.data.TFRecordDataset(file).as_numpy_iterator())
    with tf.io.TFRecordWriter(file) as writer:
        for record in records[:left]:
            writer.write(record)
    line = f"shard 0 of split 'train' holds {left} rows, expected the 40 that the set declares; rem"
    with pytest.raises(DataError, match=line):
        open_dataset(builder.name, DataConfig(image_size="8"), data_dir=str(tmp_path))


class TinySeasons(tiny_sets.TinyBuilder):
    """A set of two configurations; the first one is its default."""

    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name=name, version=tfds.core.Version("1.2.0"), description=name)
        for name in ("summer", "winter")
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tiny_days", "tiny_days"),
        ("tiny_days:1.2.0", "tiny_days"),
        ("tiny_seasons", "tiny_seasons/summer"),
        ("tiny_seasons/winter", "tiny_seasons/winter"),
    ],
)
def test_the_name_is_that_of_what_a_run_reads(text: str, name: str, tmp_path: Path) -> None:
    assert find_name(parse_dataset(text), data_dir=str(tmp_path)) == name
    assert open_dataset(text, data_dir=str(tmp_path)).info.name == name


class _Handler(http_servers.Handler):
    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"some bytes")

    def _answer(self, body: bytes) -> None:
        if "stalled" in self.path and body:
            self.answer(200, body[:4], **{"Content-Length": "10"})
            self.rfile.read(1)  # until the client gives up
        else:
            self.answer(404 if "missing" in self.path else 200, body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real server that answers with ten bytes, of a stalled file with four and no
    end, or 404 for a missing file.
    """
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http_servers.serving(_Handler) as url:
        yield url


def offer(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str) -> None:
    info = UrlInfo(size=tfds.core.utils.Size(10), checksum=sha256, filename="file")
    monkeypatch.setattr(tiny_sets.TinyRemote, "url", url, raising=False)
    monkeypatch.setattr(tiny_sets.TinyRemote, "url_infos", {url: info})


def test_a_download_is_prepared_and_not_kept(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{server}/file", hashlib.sha256(b"some bytes").hexdigest())
    open_dataset("tiny_remote", data_dir=str(tmp_path / "tfds"))
    assert [path.name for path in (tmp_path / "tfds").iterdir()] == ["tiny_remote"]
    assert [path.name for path in tmp_path.iterdir()] == ["tfds"]


def test_a_download_with_a_failed_checksum_is_refused(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{server}/file", "0" * 64)
    message = refusal("tiny_remote", tmp_path)
    assert f"a failed checksum: {server}/file is not the one that tensorflow-datasets" in message


@pytest.mark.parametrize(
    ("file", "answer_s", "why"), [("missing", 60.0, "404"), ("stalled", 0.2, "Read timed out")]
)
def test_a_download_that_fails_or_stalls_is_refused_with_the_ways_out(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    answer_s: float,
    why: str,
) -> None:
    monkeypatch.setattr(downloads, "_ANSWER_S", answer_s)
    offer(monkeypatch, f"{server}/{file}", "0" * 64)
    message = refusal("tiny_remote", tmp_path)
    assert "cannot be downloaded: the download failed (" in message
    assert why in message
    assert "use --dataset mnist_sample" in message


def test_a_server_that_never_answers_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Silent(_Handler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.rfile.read(1)  # until the client gives up

    monkeypatch.setattr(downloads, "_ANSWER_S", 0.2)
    monkeypatch.setenv("no_proxy", "localhost")
    with http_servers.serving(Silent) as url:
        offer(monkeypatch, f"{url}/file", "0" * 64)
        assert "Read timed out" in refusal("tiny_remote", tmp_path)
    assert asked == ["/file"] * 2


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (lambda server: server.replace("http:", "https:"), "SSL"),
        (lambda server: "http://localhost:1", "Connection refused"),
    ],
)
def test_why_a_server_does_not_answer_is_said(
    address: Callable[[str], str],
    why: str,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, f"{address(server)}/file", "0" * 64)
    message = refusal("tiny_remote", tmp_path)
    assert re.search(rf"localhost does not answer \(.*{why}", message)
    assert " object at 0x" not in message


def rows_of(image_set: ImageSet) -> list[SourceRows]:
    return [rows for shard in image_set.shards for rows in image_set.read(shard)]


def test_of_two_that_prepare_a_set_at_once_both_use_what_the_first_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare_too() -> None:
        monkeypatch.setattr(tiny_sets.TinyRaced, "meanwhile", lambda: None)
        tiny_sets.TinyRaced(data_dir=tmp_path).download_and_prepare()

    monkeypatch.setattr(tiny_sets.TinyRaced, "meanwhile", prepare_too, raising=False)
    image_set = open_dataset("tiny_raced", data_dir=str(tmp_path))
    assert sum(len(rows.labels) for rows in rows_of(image_set)) == 40 + 10
    assert os.listdir(tmp_path / "tiny_raced") == ["1.2.0"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a value"),
        ImportError("No module named 'x'"),
        EOFError("the end"),
        OSError("disk"),
        KeyError("a key"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_sets_own_code_raises_is_one_line_with_its_type_and_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(tiny_sets.TinyBroken, "error", error, raising=False)
    message = refusal("tiny_broken", tmp_path)
    assert message.startswith("dataset 'tiny_broken' cannot be prepared")
    assert f"{type(error).__name__}: {error}" in message


@pytest.mark.parametrize("kind", [ImportError, EOFError])
def test_a_set_that_cannot_be_loaded_is_refused_with_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def fail(self: tfds.core.DatasetBuilder) -> None:
        raise kind("why it fails")

    monkeypatch.setattr(tiny_sets.TinyDays, "_info", fail)
    message = refusal("tiny_days", tmp_path)
    assert f"'tiny_days' cannot be loaded: {kind.__name__}: " in message
    assert message.endswith("why it fails")


def test_damaged_metadata_of_a_prepared_set_is_refused(tmp_path: Path) -> None:
    path = prepare(tiny_sets.TinyDays(data_dir=tmp_path / "tfds"))
    path.with_name("dataset_info.json").write_text("{")
    assert "dataset 'tiny_days' cannot be loaded: " in refusal("tiny_days", tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_prepared_set_with_an_empty_split_is_refused(split: str, tmp_path: Path) -> None:
    path = prepare(tiny_sets.TinyDays(data_dir=tmp_path / "tfds"))
    file = path.with_name("dataset_info.json")
    described = json.loads(file.read_text())
    for one in described["splits"]:
        if one["name"] == split:
            one["shardLengths"] = ["0"]
    file.write_text(json.dumps(described))
    assert f"'tiny_days': the {split} split is empty, expected" in refusal("tiny_days", tmp_path)


Image = tfds.features.Image
PNG = Image(shape=(4, 5, 1), encoding_format="png")
LABEL = tfds.features.ClassLabel(names=["a", "b"])


class FakeInfo:
    """The two attributes of tfds.core.DatasetInfo that are asked for."""

    def __init__(self, features: Any, supervised_keys: Any = None) -> None:
        self.features = features
        self.supervised_keys = supervised_keys


def info(supervised_keys: Any = None, **features: Any) -> FakeInfo:
    return FakeInfo(tfds.features.FeaturesDict(features), supervised_keys)


def test_supervised_keys_go_first() -> None:
    found = find_keys(
        info(("photo", "coarse"), image=PNG, photo=PNG, label=LABEL, coarse=LABEL), "x"
    )
    assert found == ("photo", "coarse")


def test_then_the_features_of_that_name() -> None:
    found = find_keys(info(image=PNG, mask=PNG, label=LABEL, coarse=LABEL), "x")
    assert found == ("image", "label")


def test_then_the_only_ones_of_their_kind() -> None:
    mask = tfds.features.LabeledImage(labels=["a", "b"], shape=(4, 5, 1))  # no picture
    found = find_keys(info(("id", "photo"), id=LABEL, photo=PNG, mask=mask), "x")
    assert found == ("photo", "id")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"text": tfds.features.Text(), "label": LABEL}, "'x' has no image feature among text"),
        ({"image": PNG}, "'x' has no label feature among image"),
        ({"left": PNG, "right": PNG, "label": LABEL}, "'x' has 2 image features among left"),
        (
            {"image": Image(shape=(4, 5, 1), dtype=np.uint16), "label": LABEL},
            "images of uint16, expected uint8",
        ),
        (
            {"image": PNG, "label": tfds.features.ClassLabel(num_classes=1)},
            "has 1 classes, expected two or more",
        ),
        ({"image": PNG, "label": tfds.features.ClassLabel()}, "has no classes, expected two"),
        (
            {"image": Image(shape=(2, 4, 5, 1)), "label": LABEL},
            r"images of shape \(2, 4, 5, 1\), expected height, width",
        ),
    ],
)
def test_a_set_without_a_usable_image_and_label_is_refused(
    features: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        find_keys(info(**features), "x")


def test_a_set_of_one_feature_alone_is_refused() -> None:
    with pytest.raises(DataError, match="'x' has no image feature among its features"):
        find_keys(FakeInfo(PNG), "x")
