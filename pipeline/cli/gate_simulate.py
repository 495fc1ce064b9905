"""`tfx-mnist gate simulate`: how often the policy refuses good models and passes bad ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from components.example_gen.sources import parse_dataset
from components.gate.policy import Policy
from pipeline.cli import configuration, output
from pipeline.cli.command import CommandError, Reply, UsageError, command, option
from pipeline.cli.configuration import Given, pass_given
from pipeline.cli.option_types import FRACTION, Read, whole
from pipeline.cli.written_files import written_option
from pipeline.config_model import keys
from pipeline.dataset_defaults import DATASET_DEFAULTS, policy_for
from trainer.host.files import write_durably
from trainer.host.text import percent

if TYPE_CHECKING:  # NumPy stands behind it
    from components.gate.simulation import Point, Setting
    from components.gate.submissions import Series


def _fractions(text: str) -> list[float]:
    try:
        return sorted(set(map(FRACTION.read, text.split(","))))
    except ValueError:
        raise ValueError("numbers from 0 to 1") from None


def _count(
    flag: str, least: int, default: int, text: str, most: int | None = None
) -> Callable[[Any], Any]:
    return option(flag, "N", text, type=whole(least, most), default=default)


@command(
    done="simulated",
    failed="the PNG file cannot be written",
    usage="usage, or numbers that no two models can have",
    shows=lambda _: True,
)
@option(
    "--dataset",
    "NAME",
    "Data set whose policy is used, by name; its data are not read (default: that of --config, or "
    "mnist).",
)
@configuration.options("--config")
@configuration.set_option("gate")
@_count("--rows", 1, 10_000, "Test images.", 100_000_000)
@_count("--classes", 2, 10, "Classes.", 10_000)
@option("--accuracy", "A", "Accuracy of the served model.", type=FRACTION, default=0.994)
@option(
    "--discordance",
    "D",
    "Fraction of the test images on which exactly one of two equally good models is right; the "
    "default was measured on MNIST between two seeds of the preset fast (docs/gate-check.md).",
    type=FRACTION,
    default=0.0047,
)
@option(
    "--drops",
    "D,D,...",
    "Drops in accuracy of the candidates from the served model.",
    type=Read(_fractions),
    default="0,0.001,0.002,0.005,0.01",
)
@_count("--decision", 1, 1, "Number of the decision on the test set, from 1.")
@_count(
    "--decisions",
    1,
    100,
    "How many decisions a submitter of bad models has on one test set.",
    100_000,
)
@_count(
    "--simulations", 1, 5_000, "Number of simulations for each drop and each submitter.", 1_000_000
)
@_count("--seed", 0, 0, "Seed of the simulation.")
@written_option("--png", "Draw the curve into a PNG file as well.", "the curve")
@pass_given
def simulate(given: Given, /, **values: Any) -> Reply:
    """Shows how often good models are refused and bad ones released.

    Simulates decisions on candidates that are as good as the served model or worse by a given drop,
    and shows how often each is released and which checks refuse it. --set takes the keys gate.*; a
    configuration file may hold all keys of a run.

    Each test image is predicted right by both models, only by the served one (lost), only by the
    candidate (gained), or by neither. An equally good candidate loses and gains half of the
    discordance each; one that is worse by d loses d more and gains no more. All classes, and all
    bands of a slice, have equally many images. Cross-entropy and integrity are assumed to pass.

    Then it simulates series of decisions on one test set, and shows how often any of them releases
    a bad model: if the models do not depend on the set, if the submitter sees whether they pass,
    and if the submitter sees their accuracy.
    """
    asked = SimpleNamespace(**values)
    policy = _policy(given, asked)
    from components.gate.simulation import Setting, operating_curve
    from components.gate.submissions import SUBMITTERS, submit

    try:
        setting = Setting(asked.rows, asked.classes, asked.accuracy, asked.discordance)
        points = operating_curve(
            setting,
            policy,
            drops=asked.drops,
            simulations=asked.simulations,
            seed=asked.seed,
            decision=asked.decision,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    series = [
        submit(
            submitter,
            policy,
            rows=asked.rows,
            decisions=asked.decisions,
            simulations=asked.simulations,
            seed=asked.seed,
        )
        for submitter in SUBMITTERS
    ]
    if asked.png is not None:
        _draw(points, setting, policy, asked)
    lines = [*_lines(points, policy, asked), "", *_series_lines(series, asked)]
    return Reply(_fields(points, series, policy, asked), lines)


def _policy(given: Given, asked: SimpleNamespace) -> Policy:
    """Returns the policy of the data set, whose text in `asked` becomes its name."""
    given.require_keys(keys("gate"))
    _, values = given.chosen()
    spec = parse_dataset(asked.dataset or values.get("dataset", "mnist"))
    if spec.name is None:
        raise UsageError(
            f"dataset is {spec.text}, expected the name of a set, such as mnist: no data are read "
            "here; give a name with --dataset, and thresholds with --set or --config"
        )
    asked.dataset = spec.name
    gate = given.configuration().gate
    return policy_for(gate, spec.name, num_classes=asked.classes, test_rows=asked.rows)


def _draw(
    points: Sequence[Point], setting: Setting, policy: Policy, asked: SimpleNamespace
) -> None:
    from pipeline.simulation_plot import draw

    try:
        picture = draw(points, setting, policy, asked.dataset, decision=asked.decision)
        write_durably(asked.png, picture)
    except OSError as error:
        raise CommandError(
            f"cannot write {asked.png}: {error.strerror}; choose another file with --png"
        ) from error


def _fields(
    points: Sequence[Point], series: Sequence[Series], policy: Policy, asked: SimpleNamespace
) -> dict[str, Any]:
    return {
        **{name: value for name, value in vars(asked).items() if name != "drops"},
        "policy": policy.to_config(),
        "curve": [
            {
                "drop": point.drop,
                "released": point.release,
                "released_interval": list(point.release_interval),
                "refused": point.refusal,
                "refused_by": point.refusal_by,
            }
            for point in points
        ],
        "bad_models": [
            {
                "submitter": one.submitter,
                "released": one.share,
                "released_interval": list(one.interval),
            }
            for one in series
        ],
        "png": asked.png and str(asked.png),
    }


def _lines(points: Sequence[Point], policy: Policy, asked: SimpleNamespace) -> list[str]:
    slices = "; ".join(map(str, policy.slices)) or "none"
    kinds = list(points[0].refused_by)
    header = ["worse by", "released", "95 % interval", "refused", "by", *kinds]
    known = asked.dataset in DATASET_DEFAULTS
    whose = asked.dataset if known else f"{asked.dataset}, a set without thresholds of its own"
    return [
        f"policy of {whose}: floor {policy.floor:.15g}, class floor {policy.class_floor:.15g}, "
        f"max drop {policy.max_drop:g}, confidence {policy.confidence:.15g}, slices {slices}",
        f"{asked.rows:,} test images of {asked.classes:,} classes, decision "
        f"{asked.decision:,} on them; served accuracy {asked.accuracy:g}, discordance "
        f"{asked.discordance:g}",
        "",
        *output.table([header, *map(_row, points)], align=str.rjust),
        "",
        f"{asked.simulations:,} decisions simulated for each, seed {asked.seed}; several "
        "checks may refuse the same one; cross-entropy and integrity are taken as passed",
    ]


def _series_lines(series: Sequence[Series], asked: SimpleNamespace) -> list[str]:
    rows = [[one.submitter, percent(one.share), _interval(one.interval)] for one in series]
    return [
        f"any bad model released by {asked.decisions:,} decisions on one test set; the models' "
        "accuracy is the floor, nothing is served",
        "",
        *output.table([["submitter", "released", "95 % interval"], *rows]),
    ]


def _interval(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{percent(low)} to {percent(high)}"


def _row(point: Point) -> list[str]:
    return [
        f"{point.drop:g}",
        percent(point.release),
        _interval(point.release_interval),
        percent(point.refusal),
        "",
        *(percent(share) for share in point.refusal_by.values()),
    ]
