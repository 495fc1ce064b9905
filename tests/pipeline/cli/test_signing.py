"""Keys on the command line: `run`, `versions`, `verify`, `rollback` and `approve`."""

import json
import shutil
from pathlib import Path

import pytest

from components.serving_dir import ServingDirError, compared_now, digest_of, hold, publish
from components.serving_dir.baseline import Decided
from components.serving_dir.model_files import SIGNATURE_NAME
from components.signing import KeyRefused, signer, truster
from pipeline.cli.main import main
from pipeline.config import RunConfig, ServingConfig
from pipeline.preflight import require_possible
from tests.components.serving_dir.samples import hold_letter, letter_model
from tests.components.test_signing import forge, write_keys

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    private, public = write_keys(tmp_path / "keys")
    return str(private), str(public)


@pytest.fixture
def serving(tmp_path: Path, keys: tuple[str, str]) -> Path:
    for letter in "ab":
        model = letter_model(tmp_path, letter)
        publish(model, tmp_path / "serving", {}, sign=signer(Path(keys[0])))
    return tmp_path / "serving"


@pytest.fixture
def config(serving: Path, keys: tuple[str, str]) -> str:
    file = serving.with_name("run.json")
    section = {"signing_key": keys[0], "public_key": keys[1]}
    file.write_text(json.dumps({"serving_dir": str(serving), "serving": section}))
    return str(file)


class TestVerify:
    def test_signed_versions_are_valid(
        self, serving: Path, keys: tuple[str, str], capfd: Captured
    ) -> None:
        words = ["verify", "--serving-dir", str(serving), "--public-key", keys[1]]
        assert main(words) == 0
        assert capfd.readouterr().out.splitlines()[1:] == ["version 1: valid", "version 2: valid"]

    def test_a_forged_manifest_is_damage_by_the_key_alone(
        self, serving: Path, keys: tuple[str, str], capfd: Captured
    ) -> None:
        forge(serving / "2", release={"metrics": {"accuracy": 1.0}})
        words = ["verify", "--serving-dir", str(serving)]
        assert main(words) == 0
        assert main([*words, "--public-key", keys[1]]) == 1
        assert main([*words, "2", "--public-key", keys[1]]) == 1
        assert main([*words, "1", "--public-key", keys[1]]) == 0
        shown = capfd.readouterr()
        assert "  its signature is not that of 'manifest.json'\n" in shown.out

    def test_the_key_may_stand_in_a_configuration(self, serving: Path, config: str) -> None:
        forge(serving / "1", release={"preset": "forged"})
        assert main(["verify", "--serving-dir", str(serving)]) == 0
        assert main(["verify", "--config", config]) == 1

    def test_a_file_that_is_no_key_is_refused(self, serving: Path, capfd: Captured) -> None:
        words = ["verify", "--serving-dir", str(serving), "--public-key", str(serving / "none")]
        assert main(words) == 2
        assert "cannot read the key" in capfd.readouterr().err


@pytest.mark.parametrize("command", [["predict", "x.png"], ["monitor", "--requests", "x"]])
def test_no_version_is_loaded_that_the_key_has_not_signed(
    command: list[str], serving: Path, config: str, keys: tuple[str, str], capfd: Captured
) -> None:
    forge(serving / "2", release={"preset": "forged"})
    for words in (["--config", config], ["--serving-dir", str(serving), "--public-key", keys[1]]):
        assert main([*command, *words]) == 1
        error = capfd.readouterr().err
        assert f"2 at {serving / '2'} is damaged: its signature is not that of 'manif" in error


@pytest.mark.parametrize(
    "command", [["lineage"], ["reject", "r1", "--by", "Ann", "--reason", "r"]], ids=str
)
def test_the_directory_may_stand_in_a_configuration(
    command: list[str], serving: Path, config: str
) -> None:
    model = letter_model(serving.parent, "c")
    decided = Decided(digest_of(model), compared_now(serving))
    hold(model, serving, {}, run_id="r1", decided=decided)
    assert main([*command, "--config", config]) == 0


class TestVersions:
    def test_what_was_held_by_the_key_is_overtaken_only_without_it(
        self, serving: Path, config: str, keys: tuple[str, str], capfd: Captured
    ) -> None:
        sign, trust = signer(Path(keys[0])), truster(Path(keys[1]))
        published = publish(letter_model(serving.parent, "c"), serving, {}, sign=sign)
        (published.path / SIGNATURE_NAME).unlink()
        model = letter_model(serving.parent, "d")
        decided = Decided(digest_of(model), compared_now(serving, trust))
        hold(model, serving, {}, run_id="r1", decided=decided, sign=sign, trust=trust)
        for words, overtaken, valid in (
            (["--serving-dir", str(serving)], True, True),
            (["--serving-dir", str(serving), "--public-key", keys[1]], False, False),
            (["--config", config], False, False),
        ):
            capfd.readouterr()
            assert main(["versions", "--json", *words]) == 0
            fields = json.loads(capfd.readouterr().out)
            assert fields["pending"][0]["overtaken"] is overtaken
            assert fields["versions"][2]["valid"] is valid
        assert main(["approve", "r1", "--by", "Ann", "--reason", "r", "--config", config]) == 0


class TestRollback:
    def test_the_new_version_is_signed(self, config: str, capfd: Captured) -> None:
        assert main(["rollback", "--config", config, "--reason", "r"]) == 0
        assert main(["verify", "--config", config]) == 0
        assert "version 3: valid" in capfd.readouterr().out

    def test_a_forged_version_is_not_restored(
        self, serving: Path, config: str, capfd: Captured
    ) -> None:
        forge(serving / "1", release={"preset": "forged"})
        assert main(["rollback", "--config", config, "--reason", "r"]) == 1
        assert "1 is damaged: its signature is not that" in capfd.readouterr().err
        assert not (serving / "3").exists()

    def test_it_needs_the_private_key_where_versions_must_be_signed(
        self, serving: Path, keys: tuple[str, str], tmp_path: Path, capfd: Captured
    ) -> None:
        file = tmp_path / "public.json"
        file.write_text(json.dumps({"serving": {"public_key": keys[1]}}))
        words = ["rollback", "--reason", "r", "--serving-dir", str(serving), "--config", str(file)]
        assert main(words) == 2
        assert "without serving.signing_key: the new version" in capfd.readouterr().err
        assert main([*words, "--signing-key", keys[0]]) == 0

    def test_what_was_signed_is_not_restored_unsigned(
        self, serving: Path, keys: tuple[str, str], capfd: Captured
    ) -> None:
        words = ["rollback", "--reason", "r", "--serving-dir", str(serving)]
        assert main(words) == 1
        assert f"version 1 in {serving} is signed, and no key was given" in capfd.readouterr().err
        assert not (serving / "3").exists()
        assert main([*words, "--signing-key", keys[0]]) == 0
        assert main(["verify", "--serving-dir", str(serving), "--public-key", keys[1]]) == 0

    @pytest.mark.parametrize("by", ["flag", "configuration"])
    def test_a_signing_key_alone_signs_no_version_again_that_it_has_not_signed(
        self, by: str, serving: Path, keys: tuple[str, str], tmp_path: Path, capfd: Captured
    ) -> None:
        words = ["rollback", "--reason", "r", "--serving-dir", str(serving)]
        file = tmp_path / "alone.json"
        file.write_text(json.dumps({"serving": {"signing_key": keys[0]}}))
        words += {"flag": ["--signing-key", keys[0]], "configuration": ["--config", str(file)]}[by]
        forge(serving / "1", release={"preset": "forged"})
        for version in ([], ["1"]):
            assert main([*words, *version]) == 1
            error = capfd.readouterr().err
            assert "1 is damaged: " in error or "1 in " in error
            assert "its signature is not that of 'manifest.json'" in error
            assert error.count("\n") == 1
        assert not (serving / "3").exists()
        (serving / "1" / SIGNATURE_NAME).unlink()  # then the files are taken as they are
        assert main([*words, "1"]) == 0

    def test_a_version_of_another_key_is_not_signed_by_the_key_alone(
        self, serving: Path, tmp_path: Path, capfd: Captured
    ) -> None:
        other, _ = write_keys(tmp_path / "others")
        words = ["rollback", "--reason", "r", "--serving-dir", str(serving)]
        assert main([*words, "--signing-key", str(other)]) == 1
        error = capfd.readouterr().err
        assert "it was made with another key, or altered; give the key that signed it" in error

    def test_pruning_keeps_the_version_that_it_would_restore(
        self, serving: Path, config: str, tmp_path: Path, keys: tuple[str, str]
    ) -> None:
        publish(letter_model(tmp_path, "c"), serving, {}, sign=signer(Path(keys[0])))
        forge(serving / "2", release={"preset": "forged"})
        assert main(["prune", "--keep", "1", "--config", config]) == 0
        assert (serving / "1").exists()


class TestApproval:
    def test_a_version_that_its_run_signs_is_not_released_unsigned(
        self, serving: Path, config: str, keys: tuple[str, str], capfd: Captured
    ) -> None:
        hold_letter(serving, "c", sign=signer(Path(keys[0])))
        words = ["approve", "r1", "--by", "Ann", "--reason", "r", "--serving-dir", str(serving)]
        assert main(words) == 1
        assert "the run r1 signs what it releases, and no key was given" in capfd.readouterr().err
        assert not (serving / "3").exists()
        assert main([*words, "--config", config]) == 0
        assert main(["verify", "--config", config]) == 0

    def test_a_signing_key_alone_releases_no_model_whose_record_it_has_not_signed(
        self, serving: Path, keys: tuple[str, str], tmp_path: Path, capfd: Captured
    ) -> None:
        held = hold_letter(serving, "c", sign=signer(Path(keys[0])))
        signature = (held.path / SIGNATURE_NAME).read_bytes()
        shutil.rmtree(held.path)
        other, _ = write_keys(tmp_path / "others")
        forged = hold_letter(serving, "d", sign=signer(other))
        words = ["approve", "r1", "--by", "Ann", "--reason", "r", "--serving-dir", str(serving)]
        for kept in ((forged.path / SIGNATURE_NAME).read_bytes(), signature):
            (forged.path / SIGNATURE_NAME).write_bytes(kept)
            assert main([*words, "--signing-key", keys[0]]) == 1
            assert "r1 may have been exchanged (its signature" in capfd.readouterr().err
        assert not (serving / "3").exists()

    def test_a_signing_key_alone_signs_what_was_compared_with_a_version_of_another_key(
        self, serving: Path, tmp_path: Path
    ) -> None:
        other, public = map(str, write_keys(tmp_path / "others"))
        hold_letter(serving, "c", sign=signer(Path(other)))
        words = ["approve", "r1", "--by", "Ann", "--reason", "r", "--serving-dir", str(serving)]
        assert main([*words, "--signing-key", other]) == 0
        assert main(["verify", "3", "--serving-dir", str(serving), "--public-key", public]) == 0


class TestOnTopOfASignedVersion:
    """Whoever checks signatures would find a version without one."""

    def test_a_run_without_a_key_is_refused_before_anything_is_written(
        self, serving: Path, keys: tuple[str, str], tmp_path: Path, capfd: Captured
    ) -> None:
        root = tmp_path / "root"
        words = ["run", "--dataset", "mnist_sample", "--pipeline-root", str(root)]
        assert main([*words, "--serving-dir", str(serving)]) == 2
        assert f"version 2 in {serving} is signed, and no key was given" in capfd.readouterr().err
        assert not root.exists()

    def test_a_model_that_was_held_without_a_key_needs_one_to_be_approved(
        self, serving: Path, keys: tuple[str, str], capfd: Captured
    ) -> None:
        hold_letter(serving, "c")
        words = ["approve", "r1", "--by", "Ann", "--reason", "r", "--serving-dir", str(serving)]
        assert main(words) == 1
        assert f"version 2 in {serving} is signed, and no key was given" in capfd.readouterr().err
        assert not (serving / "3").exists()
        assert main([*words, "--signing-key", keys[0]]) == 0
        assert main(["verify", "--serving-dir", str(serving), "--public-key", keys[1]]) == 0

    def test_nothing_is_published_unsigned_until_the_signature_is_removed(
        self, serving: Path, tmp_path: Path
    ) -> None:
        model = letter_model(tmp_path, "c")
        with pytest.raises(ServingDirError, match="to go on without signatures, remove its"):
            publish(model, serving, {})
        assert not publish(letter_model(tmp_path, "b"), serving, {}).created  # it is live already
        (serving / "1" / SIGNATURE_NAME).unlink()
        words = ["rollback", "--reason", "r", "--serving-dir", str(serving)]
        assert main(words) == 1
        (serving / "2" / SIGNATURE_NAME).unlink()
        assert publish(model, serving, {}).version == 3
        assert main(words) == 0


def test_a_run_refuses_keys_that_it_cannot_use(keys: tuple[str, str]) -> None:
    require_possible(RunConfig(serving=ServingConfig(signing_key=keys[0], public_key=keys[1])))
    with pytest.raises(KeyRefused, match="is no private key, expected one in PEM"):
        require_possible(RunConfig(serving=ServingConfig(signing_key=keys[1])))
    with pytest.raises(KeyRefused, match=r"without serving\.signing_key"):
        require_possible(RunConfig(serving=ServingConfig(public_key=keys[1])))


@pytest.mark.parametrize("named", ["--signing-key", "--config", "--set"])
def test_a_run_writes_nothing_to_its_key(
    named: str, keys: tuple[str, str], config: str, capfd: Captured
) -> None:
    # That a file has another error, too, does not cost the key: the error would be written there.
    Path(config).write_text(json.dumps({**json.loads(Path(config).read_text()), "seed": "none"}))
    words = {
        "--signing-key": ["--signing-key", keys[0]],
        "--config": ["--config", config],
        "--set": ["--set", f"serving.signing_key={keys[0]}"],
    }[named]
    before = Path(keys[0]).read_bytes()
    assert main(["run", *words, "--markdown", keys[0]]) == 2
    assert main(["run", "--markdown", keys[0], *words]) == 2
    shown = capfd.readouterr()
    of, has = f"serving.signing_key in {named}", f"{named} has the serving.signing_key"
    if named == "--signing-key":
        of, has = named, f"{named} is"
    first, second = shown.err.splitlines()
    assert first.startswith("tfx-mnist: --markdown is '")
    assert f", expected another file than that of {of};" in first
    assert second.startswith(f"tfx-mnist: {has} '")
    assert ", expected another file than that of --markdown;" in second
    assert Path(keys[0]).read_bytes() == before
