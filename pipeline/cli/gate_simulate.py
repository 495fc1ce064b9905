"""`tfx-mnist gate simulate`: how often the policy refuses a good model and passes a bad one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.example_gen.errors import DataError
from components.example_gen.spec import parse_dataset
from components.gate.policy import Policy
from pipeline.cli import configuration, output
from pipeline.cli.command import Command, CommandError, Parser, UsageError, local_path, whole_number
from pipeline.config import keys_of, policy_for
from trainer.host.text import quoted

if TYPE_CHECKING:  # NumPy stands behind it
    from components.gate.simulation import Point, Setting
    from components.gate.submissions import Series

_DATASET = "mnist"
# Two seeds of the preset `fast` differ on 47 of MNIST's 10,000 test images (docs/gate-check.md).
_DISCORDANCE = 0.0047
_ACCURACY = 0.994
_DROPS = "0,0.001,0.002,0.005,0.01"
_SIMULATIONS = 5_000


def _add_options(parser: Parser) -> None:
    add = parser.add_argument

    def count(flag: str, least: int, default: int, text: str) -> None:
        type_, help_ = whole_number(least), f"{text} (default: {default:,})"
        add(flag, metavar="N", type=type_, default=default, help=help_)

    add(
        "--dataset",
        metavar="NAME",
        default=_DATASET,
        help="the set whose policy is meant, by name; its data are not read (default: %(default)s)",
    )
    configuration.add_options(parser, only=["--set"])
    count("--rows", 1, 10_000, "test images")
    count("--classes", 2, 10, "classes")
    add(
        "--accuracy",
        metavar="A",
        type=_fraction,
        default=_ACCURACY,
        help="of the served model (default: %(default)s)",
    )
    add(
        "--discordance",
        metavar="D",
        type=_fraction,
        default=_DISCORDANCE,
        help="fraction of the test images on which exactly one of two equally good models is right "
        "(default: %(default)s, measured on MNIST between two seeds of the preset fast)",
    )
    add(
        "--drops",
        metavar="D,D,...",
        type=_fractions,
        default=_DROPS,
        help="how much worse the candidates are than the served model (default: %(default)s)",
    )
    count("--decision", 1, 1, "how many decisions on its test set each one makes")
    count("--decisions", 1, 100, "how many decisions on one test set a submitter of bad models has")
    count("--simulations", 1, _SIMULATIONS, "what is simulated for each drop and each submitter")
    count("--seed", 0, 0, "seed of the simulation")
    add("--png", metavar="FILE", type=local_path, help="draw the curve into a PNG file as well")


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"is {quoted(text)}, expected a fraction from 0 to 1")
    return value


def _fractions(text: str) -> list[float]:
    """Rising, each once."""
    return sorted({_fraction(part) for part in text.split(",")})


def _execute(options: argparse.Namespace) -> int:
    name, policy = _policy(options)
    from components.gate.simulation import Setting, operating_curve

    try:
        setting = Setting(options.rows, options.classes, options.accuracy, options.discordance)
        points = operating_curve(
            setting,
            policy,
            drops=options.drops,
            simulations=options.simulations,
            seed=options.seed,
            decision=options.decision,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    series = _submit(policy, options)
    if options.png is not None:
        _draw(points, setting, policy, name, options)
    if options.json:
        output.say_json(_fields(points, series, policy, name, options))
    else:
        output.say([*_lines(points, policy, name, options), "", *_series_lines(series, options)])
    return 0


def _submit(policy: Policy, options: argparse.Namespace) -> list[Series]:
    """What comes of each kind of submitter."""
    from components.gate.submissions import SUBMITTERS, submit

    return [
        submit(
            submitter,
            policy,
            rows=options.rows,
            decisions=options.decisions,
            simulations=options.simulations,
            seed=options.seed,
        )
        for submitter in SUBMITTERS
    ]


def _policy(options: argparse.Namespace) -> tuple[str, Policy]:
    """The set's name, and its thresholds with what was set."""
    configuration.require_keys(options, keys_of("gate"))
    try:
        spec = parse_dataset(options.dataset)
    except DataError as error:
        raise UsageError(str(error)) from error
    if spec.kind == "idx":
        raise UsageError(
            f"dataset is {spec.text}, expected the name of a set, such as mnist: no data are read "
            "here; give its thresholds with --set"
        )
    gate = configuration.configuration(options).gate
    name = spec.full_name
    return name, policy_for(gate, name, num_classes=options.classes, test_rows=options.rows)


def _draw(
    points: Sequence[Point],
    setting: Setting,
    policy: Policy,
    name: str,
    options: argparse.Namespace,
) -> None:
    from pipeline.simulation_plot import draw

    path = Path(options.png)
    try:
        path.write_bytes(draw(points, setting, policy, name, decision=options.decision))
    except OSError as error:
        raise CommandError(
            f"cannot write {path}: {error.strerror}; choose another file with --png"
        ) from error


def _fields(
    points: Sequence[Point],
    series: Sequence[Series],
    policy: Policy,
    name: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    return {
        "dataset": name,
        "policy": policy.to_config(),
        "rows": options.rows,
        "classes": options.classes,
        "accuracy": options.accuracy,
        "discordance": options.discordance,
        "decision": options.decision,
        "simulations": options.simulations,
        "seed": options.seed,
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
        "decisions": options.decisions,
        "bad_models": [
            {
                "submitter": one.submitter,
                "released": one.share,
                "released_interval": list(one.interval),
            }
            for one in series
        ],
        "png": options.png,
        "error": None,
    }


def _lines(
    points: Sequence[Point], policy: Policy, name: str, options: argparse.Namespace
) -> list[str]:
    slices = "; ".join(map(str, policy.slices)) or "none"
    kinds = list(points[0].refused_by)
    header = ["worse by", "released", "95 % interval", "refused", "by", *kinds]
    return [
        f"policy of {name}: floor {policy.floor:g}, class floor {policy.class_floor:g}, max drop "
        f"{policy.max_drop:g}, confidence {policy.confidence:g}, slices {slices}",
        f"{options.rows:,} test images of {options.classes:,} classes, decision "
        f"{options.decision:,} on them; served accuracy {options.accuracy:g}, discordance "
        f"{options.discordance:g}",
        "",
        *output.table([header, *map(_row, points)]),
        "",
        f"{options.simulations:,} decisions simulated for each, seed {options.seed}; several "
        "checks may refuse the same one; cross-entropy and integrity are taken as passed",
    ]


def _series_lines(series: Sequence[Series], options: argparse.Namespace) -> list[str]:
    rows = [[one.submitter, f"{one.share:.2%}", _interval(one.interval)] for one in series]
    return [
        f"any bad model released by {options.decisions:,} decisions on one test set; the models' "
        "accuracy is the floor, nothing is served",
        "",
        *output.table([["submitter", "released", "95 % interval"], *rows]),
    ]


def _interval(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{low:.2%} to {high:.2%}"


def _row(point: Point) -> list[str]:
    return [
        f"{point.drop:g}",
        f"{point.release:.2%}",
        _interval(point.release_interval),
        f"{point.refusal:.2%}",
        "",
        *(f"{share:.2%}" for share in point.refusal_by.values()),
    ]


COMMAND = Command(
    name="simulate",
    help="how often the policy refuses a good model and passes a bad one",
    description="Simulates the release gate's decisions on candidates that are as good as the "
    "served model, or\nworse by so much, and shows how often each is released, and which checks "
    "refuse it.\n\n"
    "Each test image is got right by both models, by the served one alone (lost), by the\n"
    "candidate alone (gained), or by neither. Equally good models lose and gain half of the\n"
    "discordance each; a candidate that is worse by d loses d more and gains no more. Classes,\n"
    "and the bands of a slice, have equally many images. Cross-entropy and integrity are taken\n"
    "as passed.\n\n"
    "Then series of decisions on one test set: how often any of them releases a bad model, when\n"
    "the models are independent of the set, when the submitter sees whether they pass, and when\n"
    "the submitter sees their accuracy.",
    notes=f"keys of --set:\n{configuration.keys('gate')}",
    add_options=_add_options,
    execute=_execute,
    shows=lambda _: True,
    exit_codes={
        0: "simulated",
        1: "the PNG file cannot be written",
        2: "usage, or numbers that no two models can have",
    },
)
