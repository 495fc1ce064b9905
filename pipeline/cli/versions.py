"""`tfx-mnist versions`, `verify`, `rollback` and `prune`: the released versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from components import serving_dir
from components.serving_dir import Pruned, ServingDirError, Version
from components.serving_dir.manifest import APPROVAL, OVERRIDES
from components.serving_dir.version import Trust
from pipeline.cli import output, serving
from pipeline.cli.command import Reply, option
from pipeline.cli.option_types import SOME_TEXT, whole
from pipeline.config import HooksConfig, RunConfig, ServingConfig
from pipeline.hooks import ROLLED_BACK
from pipeline.result import ExitCode, overrides
from trainer.host.termination import Terminated
from trainer.host.text import size

_DIGEST_DIGITS = 8
_UNKNOWN = "-"
_HEADER = ("version", "published (UTC)", "run", "data set", "accuracy", "baseline", "files", "")


@serving.command(
    "listed, damaged versions as well",
    "the serving directory cannot be read",
    shows=lambda _: True,
)
@serving.options
@serving.trust_options
def versions(directory: Path, trust: Trust | None) -> Reply:
    """Lists the released versions, and which one is live.

    Shows for every version in a serving directory when and by which run it was released, on which
    data, its accuracy, its baseline, whether its files match its manifest, and whether it was
    withdrawn. The live version is the highest, which the server serves. If releases are signed,
    give --config or --public-key: a version that this key has not signed is damaged.
    """
    present = serving_dir.versions(directory, check_files=True, trust=trust)
    described = [_describe(version, live=version is present[-1]) for version in present]
    live = present[-1].number if present else None
    pending = _pending(directory, trust)
    fields = {"serving_dir": str(directory), "live": live, "versions": described}
    lines = [f"serving directory: {directory}", *_table(described), *map(_waits, pending)]
    if not all(one["overtaken"] for one in pending):
        lines.append("`tfx-mnist approve` or `tfx-mnist reject` decides on a model that waits")
    return Reply({**fields, "pending": pending}, lines)


@serving.command(
    "all files of all versions match",
    "a version is damaged, or the serving directory cannot be read",
)
@click.argument("version", metavar="[VERSION]", required=False, type=whole(0))
@serving.options
@serving.trust_options
def verify(directory: Path, version: int | None, trust: Trust | None) -> Reply:
    """Checks the files and the signature of every version.

    Reads every file of every version, or of VERSION alone, and compares its SHA-256 with the
    manifest of the version. With --public-key, or serving.public_key of --config, a version that
    this key has not signed fails as well.
    """
    if version is None:
        present = serving_dir.versions(directory, check_files=True, trust=trust)
    else:
        found = serving_dir.find(directory, version)
        problems = serving_dir.verify(found, trust)
        if problems:
            serving_dir.find(directory, version)  # as `prune` may have removed it meanwhile
        present = [dataclasses.replace(found, problems=problems)]
    checked = [_integrity(version) for version in present]
    lines = [f"serving directory: {directory}"] + ["no version yet"] * (not present)
    for one in present:
        lines.append(f"version {one.number}: {'damaged' if one.problems else 'valid'}")
        lines += [f"  {problem}" for problem in one.problems]
    fields = {"serving_dir": str(directory), "versions": checked}
    damaged = ", ".join(one.path.name for one in present if one.problems)
    if not damaged:
        return Reply(fields, lines)
    error = (
        f"damaged versions in {directory}: {damaged}; restore their files, or roll back and prune"
    )
    return Reply(fields, lines, ExitCode.FAILED, [error])


@serving.command(
    "rolled back",
    "VERSION is not good, no version is, or the rollback failed; nothing was changed, unless the "
    "line says so",
)
@click.argument("version", metavar="[VERSION]", required=False, type=whole(0))
@option(
    "--reason", "TEXT", "Reason, kept with the withdrawn version.", type=SOME_TEXT, required=True
)
@serving.options
@serving.signing_options
def rollback(
    directory: Path, version: int | None, reason: str, keys: ServingConfig, hooks: HooksConfig
) -> Reply:
    """Makes an older version the live one again.

    Publishes the files of VERSION again as the newest version, which the server then serves, and
    withdraws the version that was live: it is never restored and never a baseline, and its model is
    never released again. Both happen at once, or not at all.

    Without VERSION it restores the newest good older version: its files match its manifest, it is
    not withdrawn, and its model differs from the live one.

    With --config it requires signatures by serving.public_key, signs with serving.signing_key, and
    then runs the command of hooks.rolled_back. With a signing key alone it restores no version that
    another key has signed.
    """
    before = serving_dir.live(directory)
    try:
        done = serving_dir.rollback(
            directory, version, reason=reason, sign=keys.sign, trust=keys.trust_again
        )
        restored = {**dataclasses.asdict(done), "path": str(done.path), "reason": reason}
        fields = {"serving_dir": str(directory), **restored}
        output.tell_hook(hooks, ROLLED_BACK, {**fields, "error": None})
    except (KeyboardInterrupt, Terminated):
        _say_if_done(directory, before)
        raise
    withdrawn = f"withdrawn: version {done.withdraws}"
    if before and before.model_digest is None:
        withdrawn += (
            ", but not its model, since its manifest cannot be read: a run may release it again"
        )
    live = f"live: version {done.version} in {done.path}, which restores {done.restores}"
    return Reply(fields, [live, withdrawn])


def _say_if_done(directory: Path, before: Version | None) -> None:
    """Reports a rollback that was done before a signal came, for scripts that would try again."""
    now = serving_dir.live(directory)
    if now and before and now.rollback and now.rollback.withdraws == before.number:
        output.complain(f"rolled back before that: version {now.number} in {now.path} is live")


@serving.command(
    "removed, or there was nothing to remove",
    "failed, and every version left is complete; or a dry run's list cannot be written",
    shows=lambda options: options["dry_run"],
)
@option(
    "--keep",
    "N",
    "Number of newest versions to keep; at least as many as the server loads.",
    type=whole(1),
    required=True,
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@serving.options
@serving.config_option
def prune(directory: Path, keep: int, dry_run: bool, config: RunConfig | None) -> Reply:
    """Removes old versions.

    Removes all versions but the newest N. It never removes the live version, the one that
    `rollback` would restore, or one that withdrew a version which is still there. Versions of
    another tool are left alone and named.
    """
    trust = config.serving.trust if config else None
    done = serving_dir.prune(directory, keep, dry_run=dry_run, trust=trust)
    fields = {
        "serving_dir": str(directory),
        "dry_run": dry_run,
        "removed": [{**dataclasses.asdict(old), "path": str(old.path)} for old in done.removed],
        "bytes": done.bytes,
        "left_alone": [
            {"path": str(other.path), "problems": list(other.problems)} for other in done.left_alone
        ],
    }
    return Reply(fields, _pruned(done, dry_run=dry_run))


def _pruned(done: Pruned, *, dry_run: bool) -> Iterator[str]:
    removed, freed = ("would remove", "would free") if dry_run else ("removed", "freed")
    for old in done.removed:
        yield f"{removed}: version {old.version} in {old.path}, {size(old.bytes)}"
    yield f"{freed}: {size(done.bytes)}" if done.removed else "nothing to remove"
    for other in done.left_alone:
        yield f"left alone: {other.path} {'; '.join(other.problems)}"


def _integrity(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "path": str(version.path),
        "valid": not version.problems,
        "problems": list(version.problems),
    }


def _describe(version: Version, *, live: bool) -> dict[str, Any]:
    """Takes a version of `versions(..., check_files=True)`; unknown values become None."""
    manifest, release, rollback = version.manifest, version.release, version.rollback
    metrics = release.get("metrics") or {}
    return {
        **_integrity(version),
        "live": live,
        "published_at": manifest.published_at if manifest else None,
        "run_id": release.get("run_id"),
        "dataset": serving.dataset_of(release),
        "accuracy": metrics.get("accuracy"),
        "baseline": release.get("baseline"),
        "model_digest": version.model_digest,
        "rollback": dataclasses.asdict(rollback) if rollback else None,
        "approval": release.get(APPROVAL),
        "overrides": release.get(OVERRIDES),
        "withdrawn": dataclasses.asdict(version.withdrawn) if version.withdrawn else None,
    }


def _table(described: Sequence[Mapping[str, Any]]) -> list[str]:
    if not described:
        return ["no version yet"]
    lines = output.table([_HEADER, *map(_row, described)])
    if not all(version["valid"] for version in described):
        lines.append("`tfx-mnist verify` says what is wrong with damaged files")
    return lines


def _row(version: Mapping[str, Any]) -> tuple[str, ...]:
    accuracy, baseline = version["accuracy"], version["baseline"]
    name, digest = version["dataset"]["name"], version["dataset"]["digest"] or ""
    return (
        f"{version['version']}{' live' if version['live'] else ''}",
        (version["published_at"] or _UNKNOWN)[:19].replace("T", " "),
        str(version["run_id"] or _UNKNOWN),
        " ".join(filter(None, [name, digest[:_DIGEST_DIGITS]])) or _UNKNOWN,
        _UNKNOWN if accuracy is None else f"{accuracy:.4f}",
        str(baseline["version"]) if baseline else _UNKNOWN,
        "match" if version["valid"] else "damaged",
        "; ".join(_remarks(version)),
    )


def _remarks(version: Mapping[str, Any]) -> list[str]:
    remarks = []
    if rollback := version["rollback"]:
        remarks.append(f"restores {rollback['restores']} in place of {rollback['withdraws']}")
    if approval := version["approval"]:
        by, why = (" ".join(approval[key].split()) for key in ("by", "reason"))
        remarks.append(f"approved by {by}: {why}")
    if version["overrides"]:
        remarks.append(overrides(version["overrides"]))
    if withdrawn := version["withdrawn"]:
        reason = " ".join(withdrawn["reason"].split())
        remarks.append(f"withdrawn by {withdrawn['by']}{f': {reason}' if reason else ''}")
    return remarks


def _pending(directory: Path, trust: Trust | None) -> list[dict[str, Any]]:
    """Describes the models that wait for approval, oldest first."""
    try:
        found = serving_dir.pending(directory)
    except ServingDirError as error:  # the versions can be shown all the same
        output.complain(str(error))
        return []
    return [
        {
            "run_id": one.run_id,
            "path": str(one.path),
            "held_at": one.held_at,
            "model_digest": one.decided.model_digest,
            "accuracy": (one.release.get("metrics") or {}).get("accuracy"),
            "baseline": one.decided.compared.baseline and one.decided.compared.baseline.to_json(),
            "overrides": one.release.get(OVERRIDES),
            "checks": one.release.get("checks"),
            "overtaken": not one.still_holds(directory, trust),
        }
        for one in found
    ]


def _waits(one: Mapping[str, Any]) -> str:
    accuracy = _UNKNOWN if one["accuracy"] is None else f"{one['accuracy']:.4f}"
    against = f"version {one['baseline']['version']}" if one["baseline"] else "nothing"
    over = ", overtaken: it cannot be approved any more" if one["overtaken"] else ""
    made = f", {overrides(one['overrides'])}" if one["overrides"] else ""
    return f"waits: {one['run_id']}, accuracy {accuracy}, compared with {against}{over}{made}"
