"""What a manifest's `release` says of the run, the data and the baseline, checked.

The record is the publisher's own JSON object. Some of it is read again: to list the versions, to
compare the next candidate, to tell a run from another. What is read is of the type that is
expected, or null, or missing; a record that holds something else there is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainer.host.strict_json import is_count
from trainer.host.text import quoted

ROLLBACK = "rollback"  # the key of a rollback's record


@dataclass(frozen=True)
class Rollback:
    """What a version that was made by a rollback says of it.

    Attributes:
        restores: the version whose files this one holds.
        withdraws: the version that was live before.
        withdrawn_digest: the model digest of that one. None where it could not be read, and where
            this version holds the same model: then its files were damaged, and no model is at
            fault.
        reason: the operator's own words, maybe none.
    """

    restores: int
    withdraws: int
    withdrawn_digest: str | None
    reason: str

    @classmethod
    def from_json(cls, record: object) -> Rollback | None:
        """Reads what `dataclasses.asdict` gave; None for anything else."""
        match record:
            case {
                "restores": int(restores),
                "withdraws": int(withdraws),
                "withdrawn_digest": str() | None as digest,
                "reason": str(reason),
            } if is_count(restores) and is_count(withdraws):
                return cls(restores, withdraws, digest, reason)
        return None


def require_release(release: object) -> Mapping[str, object]:
    """Returns a release record that can be used.

    Raises:
        ValueError: something in it is of another type; the message says what and where.
    """
    if not isinstance(release, Mapping):
        raise ValueError(f"release is {quoted(release)}, expected an object")
    for place, (expected, fits) in _USED.items():
        value: object = release
        for name in place.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None and not fits(value):
            raise ValueError(f"release.{place} is {quoted(value)}, expected {expected}")
    return release


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_baseline(value: object) -> bool:
    match value:
        case {"version": version, "model_digest": str(digest)}:
            return is_count(version) and bool(digest)
    return False


def _is_image_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(is_count, value))


def _are_splits(value: object) -> bool:
    """Tells whether these are `components.example_gen.summary.SplitSummary`, as JSON."""
    return isinstance(value, Mapping) and all(map(_is_split, value.values()))


def _is_split(value: object) -> bool:
    match value:
        case {"rows": rows, "class_counts": list(counts), "digest": str()}:
            return all(map(is_count, [rows, *counts]))
    return False


def _is_rollback(value: object) -> bool:
    return Rollback.from_json(value) is not None


_TEXT = ("a text", _is_text)
_OBJECT = ("an object", _is_object)

# Where it stands in the record -> what is expected there, in words and as a test. Parents first.
_USED: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "run_id": _TEXT,
    "run_key": _TEXT,
    "release_token": _TEXT,
    "baseline": ("an object with a version and a model_digest", _is_baseline),
    "dataset": _OBJECT,
    "dataset.name": _TEXT,
    "dataset.fingerprint": _TEXT,
    "dataset.class_names": ("a list of texts", _are_texts),
    "dataset.image_shape": ("height, width and channels", _is_image_shape),
    "dataset.splits": ("the rows, class_counts and digest of each split", _are_splits),
    "metrics": _OBJECT,
    "metrics.accuracy": ("a number from 0 to 1", _is_fraction),
    ROLLBACK: ("restores, withdraws, withdrawn_digest and reason", _is_rollback),
}
