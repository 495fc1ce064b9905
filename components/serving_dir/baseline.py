"""What a candidate is compared with: the newest version that is valid and not withdrawn.

`publish(..., decided=Decided(model_digest, compared))` publishes only where `compared_now` still
gives the value `compared`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from components.serving_dir.model_files import ServingDirError
from components.serving_dir.reading import newest_valid, versions
from components.serving_dir.version import Trust, Version, export_model, verify

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Baseline:
    """A version that candidates are compared with: its number, and the digest of its model."""

    version: int
    model_digest: str

    def __str__(self) -> str:
        return f"version {self.version} (model {self.model_digest[:8]})"

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """The baseline of a candidate, if any, and the damage of the highest version, if any.

    TensorFlow Serving takes the highest version, whose damage makes an older one the baseline.
    """

    baseline: Baseline | None
    damage: str | None = None

    def __str__(self) -> str:
        baseline = "no version" if self.baseline is None else str(self.baseline)
        return baseline + (f" because of damage: {self.damage}" if self.damage else "")


@dataclass(frozen=True)
class Decided:
    """A decision to release: which model was judged, and what it was compared with."""

    model_digest: str
    compared: Comparison


@dataclass(frozen=True)
class ReleaseContext:
    """What a run is compared with, and a token that changes when it must be released anew.

    Attributes:
      released: where baseline and token are an earlier run's, the digest of the model that this
        run released, which is expected in the cache; otherwise empty.
    """

    baseline: Baseline | None
    token: str
    released: str = ""
    damage: str | None = None

    def holds_for(self, model_digest: str) -> bool:
        """Whether a model of that digest is to be compared with this baseline."""
        return self.released in ("", model_digest)


def compared_now(serving_dir: Path, trust: Trust | None = None) -> Comparison:
    """Returns what a candidate has to be compared with at this moment; reads those files."""
    # The damage may name a path: the same one, however the directory was given.
    serving_dir = Path(os.path.realpath(serving_dir))
    present = versions(serving_dir)
    newest = newest_valid(serving_dir, trust)
    baseline = damage = None
    if newest is not None and newest.manifest is not None:
        baseline = Baseline(newest.number, newest.manifest.model_digest)
    # The files of the newest valid version have just been read: once is enough where it is live.
    if present and (newest is None or newest.number != present[-1].number):
        problems = verify(present[-1], trust)
        damage = f"version {present[-1].number}: {'; '.join(problems)}" if problems else None
    return Comparison(baseline, damage)


def release_context(
    serving_dir: Path,
    run_key: str,
    fresh_token: str,
    trust: Trust | None = None,
    *,
    signs: bool = False,
) -> ReleaseContext:
    """Decides on the baseline and on the token that goes into the release record.

    When the baseline is live and was released by a run of the same key, both are those of its own
    record: a second identical run then finds everything in TFX's cache, the publishing included.
    The run is compared and released anew where that version was deleted, where another one was
    published since, where the baseline that its record names is gone, where the highest version is
    damaged, and where that is unsigned and the run signs.

    Args:
        run_key: digest of all that decides a run's outcome: data, code, configuration.
        fresh_token: a text never used before.
        trust: where it is given, a version whose signature does not hold is a damaged one.
        signs: whether the run signs what it releases.
    """
    compared = compared_now(serving_dir, trust)
    present = versions(serving_dir)
    live = present[-1] if present else None
    is_baseline = compared.baseline and live and live.number == compared.baseline.version
    recorded = _recorded(live, run_key) if live and is_baseline else None
    if live and recorded and (live.is_signed or not signs):
        named = recorded.baseline and _find(present, recorded.baseline)
        if recorded.baseline is None or (named and not verify(named, trust)):
            return recorded
        _log.info("the release of %s is not taken over: %s", compared.baseline, recorded)
    return ReleaseContext(compared.baseline, fresh_token, damage=compared.damage)


def released_data(serving_dir: Path, baseline: Baseline | None) -> str:
    """Returns the baseline's `ExamplesSummary.to_json()`, "null" if unrecorded; "" without one."""
    version = _find(versions(serving_dir), baseline) if baseline else None
    if version is None:
        return ""
    return json.dumps(version.release.get("dataset"), sort_keys=True)


def export_baseline(serving_dir: Path, baseline: Baseline, destination: Path) -> None:
    """Copies the baseline's files; raises ServingDirError if they are gone, changed or damaged."""
    version = _find(versions(serving_dir), baseline)
    if version is None:
        raise ServingDirError(
            f"the baseline, {baseline}, is not in {serving_dir} any more: start the run again"
        )
    export_model(version, destination)


def _recorded(version: Version, run_key: str) -> ReleaseContext | None:
    """Reads the release record, whose types are known, of a run with that key."""
    release = version.release
    token = release.get("release_token")
    if release.get("run_key") != run_key or token is None or "baseline" not in release:
        return None
    named = release["baseline"]
    baseline = named and Baseline(named["version"], named["model_digest"])
    return ReleaseContext(baseline, token, released=version.model_digest or "")


def _find(present: Sequence[Version], baseline: Baseline) -> Version | None:
    named = (baseline.version, baseline.model_digest)
    return next((one for one in present if (one.number, one.model_digest) == named), None)
