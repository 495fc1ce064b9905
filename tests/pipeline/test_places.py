"""The directories of a run that are refused before it."""

from pathlib import Path

import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as pb2

from pipeline.config import ConfigError, RunConfig
from pipeline.places import MAX_DATABASE_PATH, require_log_place, require_places
from tests.components.serving_dir.samples import publish_letters
from trainer.host.errors import Refusal


def root_for(length: int, folder: Path) -> Path:
    """A root below a folder whose database has a path of that many bytes."""
    missing = length - len(str(folder / "r" / "metadata.sqlite"))
    return folder.joinpath(*["n" * 99] * (missing // 100), "r" + "n" * (missing % 100))


def test_the_longest_root_is_one_that_ml_metadata_can_open(tmp_path: Path) -> None:
    config = RunConfig(pipeline_root=str(root_for(MAX_DATABASE_PATH, tmp_path)))
    assert len(str(config.metadata_path)) == MAX_DATABASE_PATH
    require_places(config)
    config.metadata_path.parent.mkdir(parents=True)
    connection = pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(config.metadata_path)
    MetadataStore(connection)


def test_a_longer_one_is_refused_also_behind_a_link(tmp_path: Path) -> None:
    root = root_for(MAX_DATABASE_PATH + 1, tmp_path)
    (tmp_path / "link").symlink_to(root)
    root.mkdir(parents=True)
    for given in (root, tmp_path / "link"):
        with pytest.raises(ConfigError, match=r"has a path of 505 bytes, expected 504 at most"):
            require_places(RunConfig(pipeline_root=str(given)))


def test_a_version_is_no_serving_directory(tmp_path: Path) -> None:
    publish_letters(tmp_path, "a")
    config = RunConfig(serving_dir=str(tmp_path / "1"))
    with pytest.raises(Refusal, match=rf"/1 is version 1 itself: give {tmp_path}$"):
        require_places(config)
    with pytest.raises(Refusal, match=r"/1 is version 1 itself"):
        require_log_place(config, tmp_path / "1")


def test_a_file_is_refused_by_the_name_of_the_setting_that_gives_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file, root = str(tmp_path / "file"), {"pipeline_root": str(tmp_path / "root")}
    for setting in ("pipeline_root", "serving_dir", "artifacts"):
        with pytest.raises(Refusal, match=f"^{setting} needs the directory '{file}"):
            require_places(RunConfig(**{**root, setting: file}))
    require_places(RunConfig(**root, artifacts="s3://bucket/dir"))
    for setting in ("pipeline_root", "serving_dir"):
        with pytest.raises(Refusal, match=f"^{setting} needs the directory '{file}"):
            require_log_place(RunConfig(**{setting: file}), tmp_path / "file")
