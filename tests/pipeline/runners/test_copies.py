from pathlib import Path

import pytest

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
    assert copies.local(uri) == copies.folder / "Trainer/model/7"
    (copies.folder / "Trainer/model/7/file").write_bytes(b"changed")
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


@pytest.mark.usefixtures("s3")
def test_a_download_that_failed_is_made_again(tmp_path: Path) -> None:
    copies, uri = Copies(tmp_path / "copies", STORE), f"{STORE}/Trainer/model/9"
    with pytest.raises(stores.StoreError, match="cannot read"):
        copies.local(uri)
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "file").write_bytes(b"late")
    stores.upload(tmp_path / "late", uri)
    assert (copies.local(uri) / "file").read_bytes() == b"late"
