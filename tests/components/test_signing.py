"""Signatures of versions: who has signed what, and that nobody else's is taken."""

import base64
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from components import signing
from components.serving_dir import (
    MANIFEST_NAME,
    Decided,
    ServingDirError,
    approve,
    compared_now,
    digest_of,
    hold,
    live,
    newest_valid,
    pending,
    publish,
    rollback,
    verify,
    versions,
)
from components.serving_dir.manifest import Manifest
from components.serving_dir.model_files import SIGNATURE_NAME
from components.signing import KeyRefused, require_keys, signer, truster
from tests.components.serving_dir.samples import decided_now, letter_model

PEM = serialization.Encoding.PEM
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def write_keys(folder: Path, key: object = None, password: bytes = b"") -> tuple[Path, Path]:
    """A key pair as private.pem and public.pem."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    folder.mkdir(exist_ok=True)
    hiding = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, hiding)
    public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "private.pem").touch(mode=0o600)
    (folder / "private.pem").write_bytes(private)
    (folder / "public.pem").write_bytes(public)
    return folder / "private.pem", folder / "public.pem"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path / "keys")


@pytest.fixture
def serving(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    """Two signed versions, with a document each."""
    for letter in "ab":
        publish(
            letter_model(tmp_path, letter),
            tmp_path / "serving",
            {"metrics": {"accuracy": 0.9}},
            documents={"MODEL_CARD.md": letter},
            sign=signer(keys[0]),
        )
    return tmp_path / "serving"


def forge(version: Path, **changes: object) -> None:
    """Writes a manifest anew that is consistent with the files, as whoever can write there can."""
    manifest = Manifest.from_json((version / MANIFEST_NAME).read_text())
    manifest = dataclasses.replace(manifest, **changes)
    (version / MANIFEST_NAME).write_text(manifest.to_json())


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_what_a_key_has_signed_holds_by_its_public_key(
    curve: ec.EllipticCurve, tmp_path: Path
) -> None:
    private, public = write_keys(tmp_path / "keys", ec.generate_private_key(curve))
    publish(letter_model(tmp_path, "a"), tmp_path / "serving", {}, sign=signer(private))
    version = newest_valid(tmp_path / "serving", truster(public))
    assert version is not None
    assert verify(version, truster(public)) == ()
    assert verify(version) == ()  # a signature is no part of the files


def test_a_forged_manifest_is_found_by_the_signature_alone(
    serving: Path, keys: tuple[Path, Path]
) -> None:
    file = serving / "2" / MANIFEST_NAME
    signed = file.read_text()
    forge(serving / "2", release={"metrics": {"accuracy": 0.99}})
    forged = live(serving)
    assert verify(forged) == ()
    assert verify(forged, truster(keys[1])) == ("its signature is not that of 'manifest.json'",)
    file.write_text(signed)  # does not make good what was read before
    changed = ("manifest.json has changed since it was read",)
    assert verify(forged, truster(keys[1])) == changed


def test_an_exchanged_model_with_its_own_manifest_is_found(
    serving: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    publish(letter_model(tmp_path, "c"), tmp_path / "other", {})
    other = live(tmp_path / "other").manifest
    (serving / "2" / "saved_model.pb").write_text("c")
    (damage,) = verify(live(serving), truster(keys[1]))
    assert damage.startswith("file 'saved_model.pb' has SHA-256")
    forge(serving / "2", files=other.files, model_digest=other.model_digest)
    assert verify(live(serving)) == ()
    assert verify(live(serving), truster(keys[1])) == (
        "its signature is not that of 'manifest.json'",
    )


def test_a_version_signed_by_another_key_or_by_nobody_is_not_trusted(
    serving: Path, tmp_path: Path
) -> None:
    _, other = write_keys(tmp_path / "others")
    assert verify(live(serving), truster(other)) == (
        "its signature does not hold: it was made with another key, or altered",
    )
    (serving / "2" / SIGNATURE_NAME).unlink()
    assert verify(live(serving), truster(other)) == (
        "has no model.sig: not signed (if it is from before there was a key, run once without "
        "serving.public_key)",
    )


def test_a_version_of_the_same_model_that_is_not_signed_so_is_followed_by_one_that_is(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    model, serving = letter_model(tmp_path, "a"), tmp_path / "serving"
    sign, trust = signer(keys[0]), truster(keys[1])
    publish(model, serving, {})
    others, _ = write_keys(tmp_path / "others")
    assert publish(model, serving, {}, sign=signer(others)).version == 2
    done = publish(model, serving, {}, sign=sign, trust=trust)
    assert (done.version, done.created) == (3, True)
    assert verify(live(serving), trust) == ()
    assert not publish(model, serving, {}, sign=sign, trust=trust).created
    assert not publish(model, serving, {}).created


def test_a_signed_version_under_another_number_is_not_valid(
    serving: Path, keys: tuple[Path, Path]
) -> None:
    shutil.copytree(serving / "1", serving / "3")
    assert verify(live(serving), truster(keys[1])) == ("manifest.json is that of version 1",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Expecting value"),
        (b"\xff", "can't decode byte"),
        (b"{}", "it is no Sigstore bundle of an in-toto statement"),
        (b'{"mediaType": 3}', "it is no Sigstore bundle of an in-toto statement"),
    ],
)
def test_a_file_that_is_no_signature_does_not_hold(
    content: bytes, problem: str, serving: Path, keys: tuple[Path, Path]
) -> None:
    (serving / "2" / SIGNATURE_NAME).write_bytes(content)
    (found,) = verify(live(serving), truster(keys[1]))
    assert found.startswith("its signature does not hold: ")
    assert problem in found


def test_a_directory_in_the_place_of_a_signature_does_not_hold(
    serving: Path, keys: tuple[Path, Path]
) -> None:
    (serving / "2" / SIGNATURE_NAME).unlink()
    (serving / "2" / SIGNATURE_NAME).mkdir()
    (found,) = verify(live(serving), truster(keys[1]))
    assert found.startswith("its signature does not hold: ")
    assert "Is a directory" in found


@pytest.mark.parametrize("place", ["mediaType", "payloadType", "payload", "sig"])
@pytest.mark.parametrize(
    "change", [lambda text: "a" * len(text), lambda text: 3, lambda text: f"{text} "]
)
def test_a_bundle_of_another_form_does_not_hold(
    place: str, change: object, serving: Path, keys: tuple[Path, Path]
) -> None:
    file = serving / "2" / SIGNATURE_NAME
    bundle = json.loads(file.read_text())
    envelope = bundle["dsseEnvelope"]
    holder = {"mediaType": bundle, "sig": envelope["signatures"][0]}.get(place, envelope)
    holder[place] = change(holder[place])
    file.write_text(json.dumps(bundle))
    (found,) = verify(live(serving), truster(keys[1]))
    assert found.startswith("its signature does not hold: ")


def test_an_altered_statement_does_not_hold(serving: Path, keys: tuple[Path, Path]) -> None:
    file = serving / "2" / SIGNATURE_NAME
    bundle = json.loads(file.read_text())
    envelope = bundle["dsseEnvelope"]
    statement = base64.b64decode(envelope["payload"]).replace(b"model", b"mydel", 1)
    envelope["payload"] = base64.b64encode(statement).decode()
    file.write_text(json.dumps(bundle))
    (found,) = verify(live(serving), truster(keys[1]))
    assert found == "its signature does not hold: it was made with another key, or altered"
    envelope["signatures"][0]["sig"] = "?"
    file.write_text(json.dumps(bundle))
    (found,) = verify(live(serving), truster(keys[1]))
    assert found.startswith("its signature does not hold: ")


@pytest.mark.parametrize("kind", ["_STATEMENT", "_PREDICATE"])
def test_what_the_key_has_signed_for_another_purpose_does_not_hold(
    kind: str, tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(signing, kind, "https://slsa.dev/provenance/v1")
        publish(letter_model(tmp_path, "a"), tmp_path / "serving", {}, sign=signer(keys[0]))
    (found,) = verify(live(tmp_path / "serving"), truster(keys[1]))
    assert "expected https://model_signing/signature/v1.0" in found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda files: None, "its signature names no files"),
        (lambda files: {}, "its signature names no files"),
        (lambda files: [one["name"] for one in files], "its signature names no files"),
        (lambda files: [{**files[0], "name": "a"}, {}], "its signature names no files"),
        (lambda files: [], "its signature is not that of 'manifest.json'"),
        (lambda files: [*files, {**files[0], "name": "a"}], "its signature is not that of 'a'"),
        (
            lambda files: [{**one, "algorithm": "sha3"} for one in files],
            "its signature is not that of 'manifest.json'",
        ),
    ],
)
def test_a_statement_of_other_files_that_the_key_has_signed_does_not_hold(
    change: object,
    problem: str,
    tmp_path: Path,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statement_of = signing._statement

    def changed(digests: Mapping[str, str]) -> dict[str, object]:
        statement = statement_of(digests)
        files = change(statement["predicate"]["resources"])
        return {**statement, "predicate": {"resources": files}}

    monkeypatch.setattr(signing, "_statement", changed)
    publish(letter_model(tmp_path, "a"), tmp_path / "serving", {}, sign=signer(keys[0]))
    assert verify(live(tmp_path / "serving"), truster(keys[1])) == (problem,)


def test_the_signature_has_the_form_of_model_signing(
    serving: Path, keys: tuple[Path, Path]
) -> None:
    bundle = json.loads((serving / "2" / SIGNATURE_NAME).read_text())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    hint = hashlib.sha256(keys[1].read_bytes()).hexdigest()
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == hint
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert statement["predicateType"] == "https://model_signing/signature/v1.0"
    assert statement["predicate"]["serialization"]["allow_symlinks"] is False
    named = [(one["name"], one["digest"]) for one in statement["predicate"]["resources"]]
    assert named == [
        (name, hashlib.sha256((serving / "2" / name).read_bytes()).hexdigest())
        for name in ("MODEL_CARD.md", "manifest.json", "saved_model.pb")
    ]


def test_a_version_that_is_not_trusted_is_no_baseline(
    serving: Path, keys: tuple[Path, Path]
) -> None:
    forge(serving / "2", release={})
    assert compared_now(serving).baseline.version == 2
    compared = compared_now(serving, truster(keys[1]))
    assert compared.baseline.version == 1
    assert compared.damage == "version 2: its signature is not that of 'manifest.json'"


def test_a_version_that_is_not_trusted_is_never_restored(
    serving: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    publish(letter_model(tmp_path, "c"), serving, {}, sign=signer(keys[0]))
    forge(serving / "2", release={})
    trust = truster(keys[1])
    with pytest.raises(ServingDirError, match=r"2 in .*: it is damaged: its signature is not that"):
        rollback(serving, 2, trust=trust)
    done = rollback(serving, sign=signer(keys[0]), trust=trust)
    assert done.restores == 1
    assert [bool(v.problems) for v in versions(serving, check_files=True, trust=trust)] == [
        False,
        True,
        False,
        False,
    ]


def test_what_waits_is_released_only_as_the_key_has_signed_it(
    serving: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    sign, trust = signer(keys[0]), truster(keys[1])
    given = {"decided": decided_now(letter_model(tmp_path, "c"), serving), "trust": trust}
    who = {"by": "Ann", "reason": "r", "sign": sign, "trust": trust}
    held = hold(letter_model(tmp_path, "c"), serving, {}, run_id="r1", sign=sign, **given)
    signature = held.path / SIGNATURE_NAME
    kept = signature.read_bytes()

    # Whoever can write there can hold another model, signed or not, in its place.
    shutil.rmtree(held.path)
    other = {**given, "decided": decided_now(letter_model(tmp_path, "d"), serving)}
    hold(letter_model(tmp_path, "d"), serving, {}, run_id="r1", **other)
    for forged in (None, kept, (serving / "2" / SIGNATURE_NAME).read_bytes()):
        if forged:
            signature.write_bytes(forged)
        assert not pending(serving)[0].still_holds(serving, trust)
        with pytest.raises(ServingDirError, match=r"r1 may have been exchanged \(.*: remove it"):
            approve(serving, "r1", **who)
    assert live(serving).number == 2

    shutil.rmtree(held.path)
    hold(letter_model(tmp_path, "c"), serving, {}, run_id="r1", sign=sign, **given)
    assert pending(serving)[0].still_holds(serving, trust)
    done = approve(serving, "r1", **who)
    assert (done.version, verify(live(serving), trust)) == (3, ())


def test_an_unsigned_model_that_waits_does_not_stand_in_for_a_signed_one(
    serving: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    sign, trust = signer(keys[0]), truster(keys[1])
    model = letter_model(tmp_path, "c")
    given = {"decided": decided_now(model, serving), "trust": trust, "sign": sign}
    forged = hold(model, serving, {}, run_id="r1", **given).path
    (forged / SIGNATURE_NAME).unlink()
    assert hold(model, serving, {}, run_id="r2", **given).run_id == "r2"


def test_what_was_compared_without_a_key_waits_beside_what_was_compared_with_one(
    serving: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    forge(serving / "2", release={})
    model, trust = letter_model(tmp_path, "c"), truster(keys[1])
    hold(model, serving, {}, run_id="r1", decided=decided_now(model, serving))
    decided = Decided(digest_of(model), compared_now(serving, trust))
    given = {"decided": decided, "trust": trust, "sign": signer(keys[0])}
    held = [hold(model, serving, {}, run_id=run_id, **given).run_id for run_id in ("r2", "r3")]
    assert held == ["r2", "r2"]
    assert [one.run_id for one in pending(serving)] == ["r1", "r2"]


def test_a_model_with_a_file_of_that_name_is_refused(tmp_path: Path) -> None:
    model = letter_model(tmp_path, "a")
    (model / SIGNATURE_NAME).touch()
    with pytest.raises(ServingDirError, match=r"'model.sig', a name kept for .* own signature"):
        publish(model, tmp_path / "serving", {})


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "line"),
        [
            (rsa.generate_private_key(65537, 2048), "is of another kind, expected one on an ellip"),
            (ec.generate_private_key(ec.SECP256K1()), "is of another kind, expected one on an el"),
        ],
        ids=["RSA", "another curve"],
    )
    def test_keys_of_another_kind_are_refused(self, key: object, line: str, tmp_path: Path) -> None:
        private, public = write_keys(tmp_path / "keys", key)
        for use, file in ((signer, private), (truster, public)):
            with pytest.raises(KeyRefused, match=line):
                use(file)

    def test_a_key_with_a_password_is_refused(self, tmp_path: Path) -> None:
        private, _ = write_keys(tmp_path / "keys", password=b"secret")
        with pytest.raises(KeyRefused, match="has a password, expected a key without one"):
            signer(private)

    def test_files_that_are_no_keys_are_refused_without_a_word_of_them(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("-----BEGIN PRIVATE KEY-----\nsecret\n")
        with pytest.raises(KeyRefused, match="file is no private key, expected one in PEM") as one:
            signer(tmp_path / "file")
        assert "secret" not in str(one.value)
        with pytest.raises(KeyRefused, match="file is no public key, expected one in PEM"):
            truster(tmp_path / "file")
        with pytest.raises(KeyRefused, match=r"cannot read the key .*none: No such file"):
            signer(tmp_path / "none")

    def test_a_pair_must_belong_together(self, keys: tuple[Path, Path], tmp_path: Path) -> None:
        private, public = map(str, keys)
        require_keys(private, public)
        require_keys(private, "")
        require_keys("", "")
        _, other = write_keys(tmp_path / "others")
        with pytest.raises(KeyRefused, match="signs for another public key than"):
            require_keys(private, str(other))
        with pytest.raises(KeyRefused, match=r"without serving.signing_key: the new version would"):
            require_keys("", public)


def test_openssfs_own_library_takes_the_signature(serving: Path, keys: tuple[Path, Path]) -> None:
    verifying = pytest.importorskip(
        "model_signing.verifying", reason="it needs a newer protobuf than TFX 1.16"
    )
    verifying.Config().use_elliptic_key_verifier(public_key=keys[1]).set_hashing_config(
        __import__("model_signing.hashing", fromlist=["Config"])
        .Config()
        .set_ignored_paths(paths=[SIGNATURE_NAME])
    ).verify(serving / "2", serving / "2" / SIGNATURE_NAME)
