"""Results of runs, one of each outcome, with counts that a reader can add up."""

import dataclasses

import numpy as np

from components.gate.check import Check
from components.gate.decide import decide
from components.gate.evidence import Case, Evidence, Provenance, Tally
from components.gate.policy import Policy
from components.pictures import (
    GAINED,
    LABEL_ERRORS,
    LOST,
    WRONG,
    Bin,
    Picture,
    Pictures,
    thumbnail,
)
from pipeline.result import FAILED, HELD, REFUSED, RELEASED, UNCHANGED, Release, RunResult, Waiting
from trainer.tuning.results import COMPLETED, Results, Trial

POLICY = Policy(floor=0.9, class_floor=0.8, max_cross_entropy=1.0, max_drop=0.05)
COMPARED = Evidence(
    overall=Tally(1000, 970, lost=12, gained=8),
    classes={"cat": Tally(500, 490, lost=5, gained=5), "<dog>": Tally(500, 480, lost=7, gained=3)},
    slices={"width below 20": Tally(50, 49)},
    cross_entropy=0.1,
    top_2_accuracy=1.0,
    compared=True,
    confusion=((490, 10), (20, 480)),
)
ALONE = dataclasses.replace(
    COMPARED,
    overall=Tally(1000, 970),
    classes={"cat": Tally(500, 490), "<dog>": Tally(500, 480)},
    compared=False,
)


def decided(
    evidence: Evidence, policy: Policy = POLICY, *, decision: int = 3, damage: str | None = None
) -> tuple[Check, ...]:
    provenance = Provenance(evidence.overall.rows, "d", "d", "m", "m")
    return decide(Case(evidence, policy, provenance, decision, damage))


RELEASED_RUN = RunResult(
    run_id="20261124T101500Z-3f2a",
    outcome=RELEASED,
    dataset={
        "name": "pets",
        "digest": "ab" * 32,
        "splits": {"train": {"rows": 5000, "digest": "c"}, "test": {"rows": 1000, "digest": "d"}},
    },
    policy=POLICY,
    baseline={"version": 2, "model_digest": "e"},
    evidence=COMPARED,
    checks=decided(COMPARED),
    release=Release(3, "root/serving/pets/3"),
    seconds={"ExampleGen": 1.0, "Trainer": 20.25},
    cached=("ExampleGen",),
    total_seconds=30.0,
    log_file="root/logs/20261124T101500Z-3f2a.log",
)
FIRST_RUN = dataclasses.replace(
    RELEASED_RUN, baseline=None, evidence=ALONE, checks=decided(ALONE), release=Release(1, "1")
)
UNCHANGED_RUN = dataclasses.replace(
    RELEASED_RUN, outcome=UNCHANGED, cached=tuple(RELEASED_RUN.seconds)
)
HELD_RUN = dataclasses.replace(
    RELEASED_RUN,
    outcome=HELD,
    release=None,
    pending=Waiting("20261124T101500Z-3f2a", "my root/serving/pets/.pending-20261124T101500Z-3f2a"),
    overrides={"keys": ["gate.floor"], "reason": "few images"},
)
_STRICT = dataclasses.replace(POLICY, floor=0.99)
REFUSED_RUN = dataclasses.replace(
    RELEASED_RUN,
    outcome=REFUSED,
    policy=_STRICT,
    checks=decided(COMPARED, _STRICT),
    release=None,
)
FAILED_RUN = RunResult(
    run_id="20261124T101500Z-3f2b",
    outcome=FAILED,
    dataset={"name": "pets", "digest": "ab" * 32},
    policy=POLICY,
    seconds={"ExampleGen": 1.0},
    error="ExampleGen: <script>alert('no')</script> & \"more\"",
)
BROKEN_RUN = RunResult("20261124T101500Z-3f2c", FAILED, error="ValueError: nobody expected it")


def picture(row: int, *, compared: bool = True) -> Picture:
    return Picture(
        split="test",
        row=row,
        sha256=f"{row:064x}",
        label="<dog>",
        looks_like="cat",
        margin=0.5,
        png=thumbnail(np.full((16, 16, 1), 60 + row, np.uint8)),
        candidate=(("cat", 0.7), ("<dog>", 0.2)),
        baseline=(("<dog>", 0.8), ("cat", 0.2)) if compared else (),
    )


def _unasked(row: int) -> Picture:
    return dataclasses.replace(picture(row), candidate=(), baseline=())


SEEN_RUN = dataclasses.replace(
    RELEASED_RUN,
    history=tuple(
        {
            "number": number,
            "loss": 1 / number,
            "accuracy": 1 - 0.3 / number,
            "eval_loss": 0.8 / number,
            "eval_accuracy": 1 - 0.2 / number,
        }
        for number in range(1, 13)
    ),
    tensorboard="root/artifacts/pets/Trainer/a model_run",
    hparams={"epochs": 4, "learning_rate": 0.005, "weights": "", "extra": {"units": 64}},
    suspects=Pictures({LABEL_ERRORS: tuple(map(_unasked, range(100)))}, examined=4000),
    mistakes=Pictures(
        {
            WRONG: tuple(map(picture, range(60))),
            LOST: tuple(map(picture, range(12))),
            GAINED: tuple(map(picture, range(20, 28))),
            LABEL_ERRORS: tuple(picture(row, compared=False) for row in range(30)),
        },
        examined=1000,
        bins=(Bin(100, 0.5, 0.45), Bin(900, 0.99, 0.98)),
    ),
    tuning=Results("loss", (Trial(1, COMPLETED, {"dropout": 0.1}, 2, 0.9, 0.3, 1.5),)),
)
RUNS = {
    "seen": SEEN_RUN,
    "released": RELEASED_RUN,
    "first": FIRST_RUN,
    "unchanged": UNCHANGED_RUN,
    "held": HELD_RUN,
    "refused": REFUSED_RUN,
    "failed": FAILED_RUN,
    "broken": BROKEN_RUN,
}
