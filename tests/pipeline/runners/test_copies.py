from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.orchestration.portable.data_types import ExecutionInfo
from tfx.proto.orchestration.executable_spec_pb2 import PythonClassExecutableSpec
from tfx.types.standard_artifacts import Model

from pipeline import stores
from pipeline.runners.copies import Copies
from tests.s3 import BUCKET

STORE = f"s3://{BUCKET}/mnist/run-1"


def made(copies: Copies, artifact: str, content: bytes) -> str:
    path = copies.folder / artifact
    path.mkdir(parents=True)
    (path / "file").write_bytes(content)
    return copies.keep(str(path))


def test_what_lies_on_this_machine_is_not_copied(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "copies")
    assert copies.local("/root/Trainer/model/7") == Path("/root/Trainer/model/7")
    assert copies.keep("/root/Trainer/model/7") == "/root/Trainer/model/7"
    assert not copies.folder.exists()


@pytest.mark.usefixtures("s3")
def test_what_this_run_wrote_is_not_downloaded(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "copies", STORE)
    uri = made(copies, "Trainer/model/7", b"weights")
    assert uri == f"{STORE}/Trainer/model/7"
    (copies.folder / "Trainer/model/7/file").write_bytes(b"changed")
    assert copies.local(uri) == copies.folder / "Trainer/model/7"
    assert (copies.local(uri) / "file").read_bytes() == b"changed"


@pytest.mark.usefixtures("s3")
def test_copies_of_an_earlier_run_are_removed_and_downloaded_to_the_same_place(
    tmp_path: Path,
) -> None:
    former = Copies(tmp_path / "copies", STORE)
    uri = made(former, "Trainer/model/8", b"weights")
    (former.folder / "Trainer/model/8/file").write_bytes(b"half")
    copies = Copies(tmp_path / "copies", f"s3://{BUCKET}/mnist/run-2")
    assert not copies.folder.exists()
    assert copies.local(uri) == former.folder / "Trainer/model/8"
    assert (copies.local(uri) / "file").read_bytes() == b"weights"
    (copies.local(uri) / "file").write_bytes(b"downloaded once")
    assert (copies.local(uri) / "file").read_bytes() == b"downloaded once"


@pytest.mark.usefixtures("s3")
def test_a_download_that_failed_is_made_again(tmp_path: Path) -> None:
    copies, uri = Copies(tmp_path / "copies", STORE), f"{STORE}/Trainer/model/9"
    with pytest.raises(stores.StoreError, match="cannot read"):
        copies.local(uri)
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "file").write_bytes(b"late")
    stores.upload(tmp_path / "late", uri)
    assert (copies.local(uri) / "file").read_bytes() == b"late"


class Trains(BaseExecutor):
    """Writes one of its outputs and removes the other."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:
        Path(output_dict["model"][0].uri, "file").write_bytes(b"weights")
        Path(output_dict["model_run"][0].uri).rmdir()


class GivesOne(Trains):
    """The same, but gives the first one alone."""

    def Do(self, input_dict, output_dict, exec_properties) -> None:
        super().Do(input_dict, output_dict, exec_properties)
        output_dict["model_run"] = []


def on_copies(tmp_path: Path) -> ExecutionInfo:
    """An execution with two outputs, which lie among the copies."""
    outputs = {}
    for key in ("model", "model_run"):
        outputs[key] = [Model()]
        outputs[key][0].uri = str(tmp_path / "copies" / "Trainer" / key / "7")
        Path(outputs[key][0].uri).mkdir(parents=True)
    return ExecutionInfo(
        output_dict=outputs,
        execution_output_uri=str(tmp_path / "executor_output"),
        stateful_working_dir=str(tmp_path),
        tmp_dir=str(tmp_path),
    )


def run_on_copies(info: ExecutionInfo, copies: Copies, executor: type[BaseExecutor]) -> Any:
    spec = PythonClassExecutableSpec(class_path=f"{__name__}.{executor.__name__}")
    return copies.operators()[type(spec)](executor_spec=spec).run_executor(info)


@pytest.mark.usefixtures("s3")
def test_where_one_output_cannot_be_uploaded_all_are_still_paths(tmp_path: Path) -> None:
    """TFX then removes them: of a URI it would say only that it cannot, and not why it has to."""
    copies = Copies(tmp_path / "copies", STORE)
    info = on_copies(tmp_path)
    with pytest.raises(stores.StoreError, match=f"^cannot write {STORE}/Trainer/model_run/7: "):
        run_on_copies(info, copies, Trains)
    assert stores.exists(f"{STORE}/Trainer/model/7/file")
    for (artifact,) in info.output_dict.values():
        assert Path(artifact.uri).is_relative_to(copies.folder)


@pytest.mark.usefixtures("s3")
def test_an_output_that_a_component_does_not_give_is_not_uploaded(tmp_path: Path) -> None:
    copies = Copies(tmp_path / "copies", STORE)
    given = run_on_copies(on_copies(tmp_path), copies, GivesOne).output_artifacts
    uris = {key: [one.uri for one in each.artifacts] for key, each in given.items()}
    assert uris == {"model": [f"{STORE}/Trainer/model/7"], "model_run": []}
