"""What a candidate is compared with: the newest version that is valid and not withdrawn.

    compared = compared_now(Path("serving"))     # when the comparison is planned
    publish(..., decided=Decided(model_digest, compared))

The second line publishes only where `compared_now` would still give the same value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.serving_dir.reading import newest_valid, versions
from components.serving_dir.version import Version, verify


@dataclass(frozen=True)
class Baseline:
    """A version that candidates are compared with: its number, and the digest of its model."""

    version: int
    model_digest: str

    def __post_init__(self) -> None:
        if self.version < 0 or not self.model_digest:
            raise ValueError(
                f"baseline version {self.version} with digest {self.model_digest!r}: expected a "
                "number of zero or more, and a digest; None stands for no baseline"
            )

    def __str__(self) -> str:
        return f"version {self.version} (model {self.model_digest[:8]})"

    def to_json(self) -> dict[str, object]:
        """Returns what goes into a release record under `baseline`."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """What a candidate is compared with.

    Attributes:
        baseline: the newest version that is valid and not withdrawn; None where there is none.
        damage: why the version that the server takes, the highest, cannot be read; None where it
            can, or where there is none. The baseline is an older one then, if there is a good one.
    """

    baseline: Baseline | None
    damage: str | None = None

    def __str__(self) -> str:
        baseline = "no version" if self.baseline is None else str(self.baseline)
        return baseline + (f" because of damage: {self.damage}" if self.damage else "")

    def to_json(self) -> dict[str, object]:
        """Returns what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Comparison:
        """Reads what `to_json` gave."""
        baseline = record["baseline"]
        return cls(None if baseline is None else Baseline(**baseline), record["damage"])


@dataclass(frozen=True)
class Decided:
    """What somebody decided to release.

    Attributes:
        model_digest: of the model that was judged.
        compared: what it was compared with.
    """

    model_digest: str
    compared: Comparison


def compared_now(serving_dir: Path) -> Comparison:
    """Returns what a candidate has to be compared with at this moment; reads those files."""
    present = versions(serving_dir)
    newest = newest_valid(serving_dir)
    # The files of the newest valid version have just been read: once is enough where it is live.
    undamaged = not present or (newest is not None and newest.number == present[-1].number)
    return Comparison(
        baseline=Baseline(newest.number, newest.manifest.model_digest)
        if newest and newest.manifest
        else None,
        damage=None if undamaged else _damage(present[-1]),
    )


def _damage(live: Version) -> str | None:
    problems = verify(live)
    return f"version {live.number}: {'; '.join(problems)}" if problems else None
