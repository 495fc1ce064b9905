import hashlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
import tiny_sets
from tensorflow_datasets.core.download.checksums import UrlInfo

from components.example_gen import prepare
from components.example_gen.arrays import ImageArrays
from components.example_gen.dataset import describe
from components.example_gen.errors import DataError
from components.example_gen.idx import read_directory
from components.example_gen.prepare import prepared
from components.example_gen.sources import resolve

Write = Callable[..., Path]


def everything_below(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


def refusal(text: str, directory: Path) -> str:
    """The message; and nothing was written."""
    before = everything_below(directory)
    with pytest.raises(DataError) as caught:
        resolve(text, data_dir=str(directory / "tfds"), cache_dir=str(directory / "cache"))
    assert everything_below(directory) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_idx_files_become_a_prepared_builder(idx_folder: Write, tmp_path: Path) -> None:
    directory = idx_folder("digits")
    builder = resolve(f"idx:{directory}", data_dir=None, cache_dir=str(tmp_path / "cache"))
    assert builder.is_prepared()
    assert builder.name.startswith("idx_digits_")
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert counts == {"train": 48, "test": 12}


def test_the_prepared_pixels_are_those_of_the_files(
    idx_folder: Write, tmp_path: Path, split_of: Callable
) -> None:
    builder = resolve(f"idx:{idx_folder()}", data_dir=None, cache_dir=str(tmp_path / "cache"))
    found = {row["image"].tobytes() for row in tfds.as_numpy(builder.as_dataset("test"))}
    assert found == {image.tobytes() for image in split_of(12, 2)[0]}


def test_unchanged_files_are_prepared_once(idx_folder: Write, tmp_path: Path) -> None:
    text = f"idx:{idx_folder()}"
    cache = tmp_path / "cache"
    first = resolve(text, data_dir=None, cache_dir=str(cache))
    times = {path: path.stat().st_mtime_ns for path in everything_below(cache)}
    second = resolve(text, data_dir=None, cache_dir=str(cache))
    assert {path: path.stat().st_mtime_ns for path in everything_below(cache)} == times
    assert describe(first, text) == describe(second, text)


def test_changed_files_are_prepared_anew(
    idx_folder: Write, tmp_path: Path, split_of: Callable, idx_file: Callable
) -> None:
    directory, cache = idx_folder(), str(tmp_path / "cache")
    before = describe(
        resolve(f"idx:{directory}", data_dir=None, cache_dir=cache), f"idx:{directory}"
    )
    (directory / "train-images-idx3-ubyte").write_bytes(idx_file(split_of(48, 9)[0]))
    after = describe(
        resolve(f"idx:{directory}", data_dir=None, cache_dir=cache), f"idx:{directory}"
    )
    assert before.fingerprint != after.fingerprint


def test_another_layout_is_prepared_beside_the_old_one(
    idx_folder: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, cache = f"idx:{idx_folder()}", tmp_path / "cache"
    resolve(text, data_dir=None, cache_dir=str(cache))
    monkeypatch.setattr(prepare, "_VERSION", "9.0.0")
    monkeypatch.setattr(prepare._ArraysBuilder, "VERSION", tfds.core.Version("9.0.0"))
    builder = resolve(text, data_dir=None, cache_dir=str(cache))
    assert str(builder.version) == "9.0.0"
    assert len(list(cache.iterdir())) == 2


def test_preparing_leaves_nothing_but_the_prepared_directory(
    idx_folder: Write, tmp_path: Path
) -> None:
    builder = resolve(f"idx:{idx_folder()}", data_dir=None, cache_dir=str(tmp_path / "cache"))
    (home,) = (tmp_path / "cache").iterdir()
    assert list(home.iterdir()) == [Path(builder.data_dir).parent]


def test_what_a_killed_run_left_goes_also_where_the_set_is_prepared(
    idx_folder: Write, tmp_path: Path
) -> None:
    text, cache = f"idx:{idx_folder()}", tmp_path / "cache"
    resolve(text, data_dir=None, cache_dir=str(cache))
    (cache / ".preparing-0123" / "digits").mkdir(parents=True)
    resolve(text, data_dir=None, cache_dir=str(cache))
    assert not (cache / ".preparing-0123").exists()


def test_the_prepared_directory_has_the_mode_that_the_umask_says(
    idx_folder: Write, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        resolve(f"idx:{idx_folder()}", data_dir=None, cache_dir=str(tmp_path / "cache"))
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o077 for path in everything_below(tmp_path / "cache")}
    assert modes == {0}


def test_preparing_prints_nothing_on_stdout(
    idx_folder: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    resolve(f"idx:{idx_folder()}", data_dir=None, cache_dir=str(tmp_path / "cache"))
    assert capfd.readouterr().out == ""


def test_the_sample_is_prepared_without_network(tmp_path: Path, no_network: None) -> None:
    builder = resolve("mnist_sample", data_dir=None, cache_dir=str(tmp_path))
    assert builder.info.splits["train"].num_examples == 4000
    assert builder.info.splits["test"].num_examples == 1000


def test_refused_idx_files_leave_nothing(idx_folder: Write, tmp_path: Path) -> None:
    directory = idx_folder(train_images=b"abc")
    assert "expected an IDX header" in refusal(f"idx:{directory}", tmp_path)


def test_a_cache_directory_that_cannot_be_made_is_refused(
    idx_folder: Write, tmp_path: Path
) -> None:
    directory = idx_folder()
    (tmp_path / "cache").touch()
    assert "cannot be prepared there (File exists)" in refusal(f"idx:{directory}", tmp_path)


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
        builder = resolve("tiny_days", data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))
        assert builder.info.splits["train"].num_examples == 40
        assert not (tmp_path / "cache").exists()

    def test_a_set_that_needs_no_download_is_prepared(self, tmp_path: Path) -> None:
        data_dir = tmp_path / "tfds"
        resolve("tiny_days:1.2.0", data_dir=str(data_dir), cache_dir=str(tmp_path / "cache"))
        assert [path.name for path in data_dir.iterdir()] == ["tiny_days"]
        assert os.listdir(data_dir / "tiny_days") == ["1.2.0"]

    def test_a_set_to_download_is_refused_with_the_ways_out(self, tmp_path: Path) -> None:
        message = refusal("mnist", tmp_path)
        assert "'mnist' is not prepared yet and there is no network to download it" in message
        assert "use --dataset mnist_sample" in message
        assert "or --dataset idx:DIR" in message

    def test_an_unknown_set_is_refused_with_the_nearest(self, tmp_path: Path) -> None:
        assert "dataset 'fashon_mnist' is unknown, did you mean 'fashion_mnist'" in refusal(
            "fashon_mnist", tmp_path
        )

    def test_a_misspelt_sample_is_known_too(self, tmp_path: Path) -> None:
        assert "did you mean 'mnist_sample'" in refusal("mnist_sampel", tmp_path)

    def test_an_unknown_config_is_refused_with_the_nearest(self, tmp_path: Path) -> None:
        assert "config 'balancd' is unknown, did you mean 'balanced'; expected one of byclass" in (
            refusal("emnist/balancd", tmp_path)
        )

    def test_a_config_of_a_set_without_configs_is_refused(self, tmp_path: Path) -> None:
        assert "config 'x' is unknown; expected none" in refusal("mnist/x", tmp_path)

    def test_an_unknown_version_is_refused_with_the_known(self, tmp_path: Path) -> None:
        assert "version 9.9.9 is unknown; expected 3.0.1" in refusal("mnist:9.9.9", tmp_path)

    def test_a_set_of_texts_is_refused_before_its_download(self, tmp_path: Path) -> None:
        assert "'imdb_reviews' has no image feature" in refusal("imdb_reviews", tmp_path)

    def test_images_of_differing_shapes_are_refused_before_their_download(
        self, tmp_path: Path
    ) -> None:
        assert "images of differing shapes (declared ?x?x3)" in refusal("tf_flowers", tmp_path)


def test_a_set_without_a_test_split_is_refused(tmp_path: Path) -> None:
    assert "'tiny_train_only' has no split 'test', only train" in refusal(
        "tiny_train_only", tmp_path
    )


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tfds").touch()
    assert "choose another --data-dir" in refusal("tiny_days", tmp_path)


def test_the_fingerprint_follows_the_prepared_content(tmp_path: Path) -> None:
    builder = resolve("tiny_days", data_dir=str(tmp_path), cache_dir=str(tmp_path))
    before = describe(builder, "tiny_days")
    path = Path(builder.info.splits["test"].filepaths[0])
    path.write_bytes(path.read_bytes()[:-1])
    assert describe(builder, "tiny_days").fingerprint != before.fingerprint
    assert (before.name, before.image_shape) == ("tiny_days", (4, 5, 3))
    assert before.class_names == ("day", "night")


def test_a_prepared_set_whose_file_is_gone_is_refused(tmp_path: Path) -> None:
    builder = resolve("tiny_days", data_dir=str(tmp_path), cache_dir=str(tmp_path))
    Path(builder.info.splits["test"].filepaths[0]).unlink()
    with pytest.raises(DataError, match=r"cannot be read .* remove .*/tiny_days/1.2.0 to have it"):
        describe(builder, "tiny_days")


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"some bytes")

    def _answer(self, body: bytes) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a real server that answers with ten bytes, or 404 for a missing file."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


def offer(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str) -> None:
    info = UrlInfo(size=tfds.core.utils.Size(10), checksum=sha256, filename="file")
    monkeypatch.setattr(tiny_sets.TinyRemote, "url", url, raising=False)
    monkeypatch.setattr(tiny_sets.TinyRemote, "url_infos", {url: info})


def test_a_download_is_prepared_and_not_kept(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{server}/file", hashlib.sha256(b"some bytes").hexdigest())
    resolve("tiny_remote", data_dir=str(tmp_path / "tfds"), cache_dir=str(tmp_path / "cache"))
    assert [path.name for path in (tmp_path / "tfds").iterdir()] == ["tiny_remote"]
    assert [path.name for path in tmp_path.iterdir()] == ["tfds"]


def test_a_download_with_a_failed_checksum_is_refused(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{server}/file", "0" * 64)
    message = refusal("tiny_remote", tmp_path)
    assert f"a failed checksum: {server}/file is not the one that tensorflow-datasets" in message


def test_a_download_that_fails_is_refused_with_the_ways_out(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{server}/missing", "0" * 64)
    message = refusal("tiny_remote", tmp_path)
    assert "the download failed (" in message
    assert "use --dataset mnist_sample" in message


def test_of_two_that_prepare_a_set_at_once_both_use_what_the_first_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare_too() -> None:
        monkeypatch.setattr(tiny_sets.TinyRaced, "meanwhile", lambda: None)
        tiny_sets.TinyRaced(data_dir=tmp_path).download_and_prepare()

    monkeypatch.setattr(tiny_sets.TinyRaced, "meanwhile", prepare_too, raising=False)
    builder = resolve("tiny_raced", data_dir=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert builder.is_prepared()
    assert len(list(builder.as_dataset("train"))) == 40
    assert os.listdir(tmp_path / "tiny_raced") == ["1.2.0"]


def test_of_two_that_prepare_idx_files_at_once_both_use_what_the_first_has_made(
    idx_folder: Write, tmp_path: Path
) -> None:
    cache, arrays = tmp_path / "cache", read_directory(idx_folder())

    def read_while_another_prepares() -> ImageArrays:
        prepared(cache, arrays.name, arrays.fingerprint, lambda: arrays)
        return arrays

    builder = prepared(cache, arrays.name, arrays.fingerprint, read_while_another_prepares)
    assert len(list(builder.as_dataset("train"))) == 48
    assert list(cache.iterdir()) == [Path(builder.data_dir).parent.parent]


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


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_metadata_of_a_prepared_set_is_refused(
    idx_folder: Write, tmp_path: Path, name: str
) -> None:
    text = f"idx:{idx_folder()}"
    builder = resolve(text, data_dir=None, cache_dir=str(tmp_path / "cache"))
    Path(builder.data_dir, name).write_text("{")
    assert "remove it to have it prepared again" in refusal(text, tmp_path)


def test_damaged_metadata_of_a_downloaded_set_is_refused(tmp_path: Path) -> None:
    builder = resolve("tiny_days", data_dir=str(tmp_path / "tfds"), cache_dir=str(tmp_path))
    Path(builder.data_dir, "dataset_info.json").write_text("{")
    assert "dataset 'tiny_days' cannot be loaded: " in refusal("tiny_days", tmp_path)
