"""Signatures of versions by an elliptic-curve key, in the form of OpenSSF's model-signing 1.x.

Synopsis::

    sign = signer(Path("private.pem"))
    publish(model, serving, record, sign=sign)
    trust = truster(Path("public.pem"))
    newest_valid(serving, trust)

A signature is a Sigstore bundle with a DSSE envelope around an in-toto statement, which names each
file with its SHA-256: `model_signing verify key VERSION --public_key KEY --signature
VERSION/model.sig` takes it. That library itself does not go with the protobuf of TFX 1.16
(November 2026), and `cryptography` alone makes the signature here.
https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md describes what is signed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.serving_dir.version import Sign, Trust
from trainer.host import strict_json
from trainer.host.errors import Refusal
from trainer.host.files import read_regular
from trainer.host.text import quoted

if TYPE_CHECKING:  # takes 0.1 s to import
    from cryptography.hazmat.primitives.asymmetric import ec

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"

_CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
_MAX_BYTES = 16 << 20  # of a key or a signature: a manifest of 4 MiB in base64


class KeyRefused(Refusal, ValueError):
    """A key cannot be used; the message is one line for the user."""


def signer(private_key: Path) -> Sign:
    """Returns what signs with a private key, PEM without a password; raises KeyRefused."""
    key = _private(private_key)

    def sign(digests: Mapping[str, str]) -> bytes:
        payload = json.dumps(_statement(digests), indent=1).encode()
        signature = key.sign(_signed(payload), _scheme(key.public_key()))
        bundle = {
            "mediaType": _BUNDLE,
            "verificationMaterial": {
                "publicKey": {"hint": _hint(key.public_key())},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": _PAYLOAD,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
        return json.dumps(bundle).encode()

    return sign


def truster(public_key: Path) -> Trust:
    """Returns what checks signatures by a public key, PEM; raises KeyRefused."""
    return _truster(_public(public_key))


def own_truster(private_key: Path) -> Trust:
    """Returns what refuses signatures that a private key has not made, and takes what has none;
    raises KeyRefused.
    """
    made_by = _truster(_private(private_key).public_key())

    def trust(signature: Path, digests: Mapping[str, str]) -> str:
        problem = made_by(signature, digests) if signature.exists() else ""
        return f"{problem}; give the key that signed it" if problem else ""

    return trust


def _truster(key: ec.EllipticCurvePublicKey) -> Trust:
    def trust(signature: Path, digests: Mapping[str, str]) -> str:
        try:
            bundle = strict_json.loads(read_regular(signature, max_bytes=_MAX_BYTES).decode())
            payload = _verified(bundle, key)
        except FileNotFoundError:
            return (
                f"has no {signature.name}: not signed (if it is from before there was a key, run "
                "once without serving.public_key)"
            )
        except (OSError, ValueError) as error:
            return f"its signature does not hold: {error}"
        return _difference(payload, digests)

    return trust


def require_keys(signing_key: str, public_key: str) -> None:
    """Raises KeyRefused for keys with which no version could be signed and then trusted; each is a
    path, or empty for none.
    """
    if public_key and not signing_key:
        raise KeyRefused(
            f"serving.public_key is {quoted(public_key)} without serving.signing_key: the new "
            "version would be unsigned, and so neither a baseline nor restored; give --signing-key"
        )
    private = _private(Path(signing_key)) if signing_key else None
    public = _public(Path(public_key)) if public_key else None
    if private and public and _hint(private.public_key()) != _hint(public):
        raise KeyRefused(
            f"the key {signing_key} signs for another public key than {public_key}, expected its "
            "own"
        )


def _statement(digests: Mapping[str, str]) -> dict[str, Any]:
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digest}
        for name, digest in sorted(digests.items())
    ]
    every = b"".join(bytes.fromhex(one["digest"]) for one in resources)
    return {
        "_type": _STATEMENT,
        "subject": [{"name": "model", "digest": {"sha256": hashlib.sha256(every).hexdigest()}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [],
            },
            "resources": resources,
        },
    }


def _signed(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _verified(bundle: Any, key: ec.EllipticCurvePublicKey) -> Any:
    """Returns the payload of a bundle that the key has signed; raises ValueError."""
    from cryptography.exceptions import InvalidSignature

    match bundle:
        case {
            "mediaType": kind,
            "dsseEnvelope": {
                "payload": str(payload),
                "payloadType": payload_kind,
                "signatures": [{"sig": str(signature)}],
            },
        } if (kind, payload_kind) == (_BUNDLE, _PAYLOAD):
            pass
        case _:
            raise ValueError("it is no Sigstore bundle of an in-toto statement")
    try:
        content = base64.b64decode(payload, validate=True)
        key.verify(base64.b64decode(signature, validate=True), _signed(content), _scheme(key))
    except InvalidSignature:
        raise ValueError("it was made with another key, or altered") from None
    return strict_json.loads(content.decode())


def _difference(payload: Any, digests: Mapping[str, str]) -> str:
    """Says how files differ from those of a signed statement, or ""."""
    match payload:
        case {"_type": kind, "predicateType": predicate, "predicate": {"resources": list(files)}}:
            if (kind, predicate) != (_STATEMENT, _PREDICATE):
                return f"its signature is of a {predicate}, expected {_PREDICATE}"
        case _:
            return "its signature names no files"
    try:
        signed = {one["name"]: one["digest"] for one in files if one["algorithm"] == "sha256"}
    except (KeyError, TypeError):
        return "its signature names no files"
    names = sorted(signed.keys() | digests.keys())
    wrong = [name for name in names if signed.get(name) != digests.get(name)]
    return f"its signature is not that of {wrong[0]!r}" if wrong else ""


def _private(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise KeyRefused(f"the key {path} has a password, expected a key without one") from None
    except Exception:  # of cryptography's several kinds, whose texts may quote the key
        raise KeyRefused(f"{path} is no private key, expected one in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise _other_kind(path)
    return key


def _public(path: Path) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = _read(path)
    try:
        key = serialization.load_pem_public_key(content)
    except Exception:  # of cryptography's several kinds
        raise KeyRefused(f"{path} is no public key, expected one in PEM") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise _other_kind(path)
    return key


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, max_bytes=_MAX_BYTES)
    except OSError as error:
        raise KeyRefused(f"cannot read the key {path}: {error.strerror}") from None


def _other_kind(path: Path) -> KeyRefused:
    return KeyRefused(
        f"the key {path} is of another kind, expected one on an elliptic curve, P-256, P-384 or "
        "P-521: openssl ecparam -name prime256v1 -genkey -noout -out private.pem"
    )


def _scheme(key: ec.EllipticCurvePublicKey) -> ec.ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    hash_: type[hashes.HashAlgorithm] = getattr(hashes, _CURVES[key.curve.name])
    return ec.ECDSA(hash_())


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    from cryptography.hazmat.primitives import serialization

    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(pem).hexdigest()
