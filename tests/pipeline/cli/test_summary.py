import pytest

from components.gate.check import Check
from components.gate.evidence import Evidence, Tally
from components.gate.policy import GateConfig
from pipeline.cli.summary import check_lines, summary, trials
from pipeline.dataset_defaults import policy_for
from pipeline.result import (
    FAILED,
    HELD,
    REFUSED,
    RELEASED,
    UNCHANGED,
    Release,
    RunResult,
    Waiting,
)
from trainer.tuning.results import COMPLETED, Results, Trial
from trainer.tuning.results import FAILED as FAILED_TRIAL

EVIDENCE = Evidence(
    overall=Tally(rows=1000, correct=981),
    classes={"7": Tally(rows=500, correct=488), "8": Tally(rows=500, correct=493)},
    slices={},
    cross_entropy=0.1,
    top_2_accuracy=0.99,
)
PASSED = (
    Check("data.blank", True, 0, 0, "no image is blank"),
    Check("data.overlap", True, 0, 0, "0 of 1,000 test images stand in train"),
    Check("accuracy", True, 0.981, 0.96, "accuracy is 0.9810, at least 0.9600"),
    Check("class.7", True, 0.976, 0.88, "accuracy of class 7 is 0.9760, allowed is 0.8800"),
    Check("class.8", True, 0.986, 0.88, "accuracy of class 8 is 0.9860, allowed is 0.8800"),
    Check("class_change.7", True, -0.002, 0.0, "class 7: 1 gained and 2 lost"),
    Check("class_change.8", True, 0.004, 0.0, "class 8: 2 gained and 0 lost"),
    Check("baseline", True, None, None, "there is no baseline to compare with"),
)


class TestSummary:
    def _text(self, result: RunResult) -> list[str]:
        return [str(line) for line in summary(result)]

    def test_a_held_run_gives_the_command_that_releases_it(self) -> None:
        result = RunResult("r", HELD, pending=Waiting("r", "my root/serving/a/.pending-r"))
        assert self._text(result)[:3] == [
            "held: the model waits in my root/serving/a/.pending-r",
            "release it: tfx-mnist approve r --serving-dir 'my root/serving/a' --by NAME "
            "--reason TEXT",
            "  or reject it in the same way; with --config FILE if this run has keys or hooks",
        ]

    def test_a_released_run(self) -> None:
        result = RunResult(
            run_id="r",
            outcome=RELEASED,
            dataset={
                "name": "mnist_sample",
                "digest": "ab",
                "splits": {"train": {"rows": 3500}, "eval": {"rows": 500}, "test": {"rows": 1000}},
                "skipped": 1,
                "ignored": 12,
            },
            evidence=EVIDENCE,
            checks=PASSED,
            release=Release(3, "pipeline_root/serving/mnist_sample/3"),
            total_seconds=42.0,
            log_file="x.log",
        )
        assert self._text(result) == [
            "data: mnist_sample (train 3,500, eval 500, test 1,000)",
            "left out: 1 image that cannot be read, 12 files that are hidden or of other formats",
            "accuracy: 0.9810 on 1,000 test images",
            "  passed: 2 data checks",
            "  passed: accuracy is 0.9810, at least 0.9600",
            "  passed: 2 class checks, lowest 7: 0.9760 (allowed 0.88)",
            "  passed: 2 class change checks, lowest 7: -0.0020",
            "  passed: there is no baseline to compare with",
            "released: version 3 in pipeline_root/serving/mnist_sample/3",
            "time: 42 s",
        ]

    @pytest.mark.parametrize(
        ("baseline", "found"), [({"version": 2, "model_digest": "e"}, "version 2"), (None, "none")]
    )
    def test_the_directory_that_was_asked_for_the_baseline_is_named(
        self, baseline: dict[str, object] | None, found: str
    ) -> None:
        policy = policy_for(GateConfig(), "", num_classes=3, test_rows=1000)
        result = RunResult(
            "r", RELEASED, policy=policy, baseline=baseline, serving_dir="/srv/digits"
        )
        assert self._text(result)[0] == f"baseline: {found} in /srv/digits"

    def test_a_served_version_that_cannot_be_read_is_not_called_none(self) -> None:
        policy = policy_for(GateConfig(), "", num_classes=3, test_rows=1000)
        result = RunResult("r", REFUSED, policy=policy, serving_dir="/srv/digits")
        result.checks = (Check("baseline", False, "version 3: torn", "one that matches", "broken"),)
        assert self._text(result)[0] == "baseline: none that can be read in /srv/digits"
        result.baseline = {"version": 2, "model_digest": "e"}
        assert self._text(result)[0] == (
            "baseline: version 2, the newest that can be read, in /srv/digits"
        )

    def test_the_accuracy_of_what_is_served_stands_beside_that_of_the_candidate(self) -> None:
        """A refusal leaves it in place, and it was released by other images, maybe."""
        compared = Evidence(Tally(1000, 700, lost=20, gained=70), {}, {}, 0.1, 0.9, compared=True)
        assert self._text(RunResult("r", REFUSED, evidence=compared))[0] == (
            "accuracy: 0.7000 on 1,000 test images; the baseline's is 0.6500"
        )

    def test_checks_that_were_not_judged_do_not_stand_among_the_passed_ones(self) -> None:
        few = [
            Check(f"slice.x={i}", True, None, 0.88, f"x={i} has {i} test images, too few")
            for i in (1, 2)
        ]
        drift = Check(
            "data.drift", True, None, 0.05, "class drift skipped: no release to compare with"
        )
        assert [line.text for line in check_lines([drift, *few])] == [
            "  not judged: class drift skipped: no release to compare with",
            "  not judged: 2 slice checks, first: x=1 has 1 test images, too few",
        ]

    def test_a_class_below_its_bound_passed_because_chance_explains_it(self) -> None:
        few = [Check(f"class.{i}", True, i / 10, 0.88, "few images") for i in (8, 9)]
        assert [line.text for line in check_lines(few)] == [
            "  passed: 2 class checks, lowest 8: 0.8000 (not shown to be below 0.88)"
        ]

    def test_checks_of_a_plugin_may_have_no_number(self) -> None:
        some = [
            Check("slice.day", True, 0.98, 0.9, "by day"),
            Check("slice.night", True, None, None, "by night"),
            Check("slice.dusk", True, 0.97, None, "by dusk"),
        ]
        assert [line.text for line in check_lines(some)] == [
            "  passed: 3 slice checks, lowest day: 0.9800 (allowed 0.9)"
        ]

    def test_a_refused_run_says_which_check_failed_and_where_the_log_is(self) -> None:
        failed = Check("class.8", False, 0.8, 0.88, "accuracy of class 8 is 0.8000, required ...")
        known = {"dataset": {"name": "pets"}, "log_file": "logs/r.log"}  # and no splits
        result = RunResult("r", REFUSED, checks=(*PASSED[3:4], failed), **known)
        assert self._text(result) == [
            "data: pets",
            "  failed: accuracy of class 8 is 0.8000, required ...",
            "  passed: accuracy of class 7 is 0.9760, allowed is 0.8800",
            "refused: nothing was released, and what is served stays",
            "time: 0.0 s",
            "log: logs/r.log",
        ]

    def test_a_failed_run_says_why_and_where_the_log_is(self) -> None:
        result = RunResult("r", FAILED, error="Trainer: loss is nan", log_file="logs/r.log")
        assert self._text(result)[0] == "failed: Trainer: loss is nan"
        assert self._text(result)[-1] == "log: logs/r.log"

    def test_an_unchanged_run_names_the_version_that_holds_the_model(self) -> None:
        result = RunResult("r", UNCHANGED, release=Release(3, "serving/3"), log_file="x.log")
        assert self._text(result)[0] == "unchanged: version 3 in serving/3 holds this model already"

    def test_components_from_the_cache_are_counted(self) -> None:
        result = RunResult("r", UNCHANGED, seconds={"A": 0.0, "B": 1.0}, cached=("A",))
        assert self._text(result)[-1] == "time: 0.0 s, 1 of 2 components from the cache"


def trial(number: int, accuracy: float) -> Trial:
    values = {"learning_rate": 0.01, "width": 1.0 + number}
    return Trial(number, COMPLETED, values, 5, accuracy, eval_loss=1.0 - accuracy, seconds=3.0)


def test_the_best_trial_stands_first_and_a_failed_one_last() -> None:
    failed = Trial(2, FAILED_TRIAL, {"learning_rate": 0.03, "width": 0.5}, 5)
    results = Results("accuracy", (trial(1, 0.98), failed, trial(3, 0.99)))
    assert list(trials(results, "root/trials.png")) == [
        "tuning: 3 trials, best on eval is trial 3 with accuracy 0.9900; "
        "trial 1, the start, has 0.9800",
        "hyper-parameters: learning_rate 0.01, width 4",
        "  trial  accuracy    loss  epochs   time  learning_rate  width",
        "      3    0.9900  0.0100       5  3.0 s           0.01      4",
        "      1    0.9800  0.0200       5  3.0 s           0.01      2",
        "      2    failed               5                  0.03    0.5",
        "trials: all in root/trials.json, drawn in root/trials.png",
    ]
    first, *_ = trials(Results("accuracy", (failed, trial(3, 0.99))), None)
    assert first.endswith("; trial 1, the start, has failed")


def test_of_many_trials_the_best_ten_are_shown() -> None:
    results = Results("loss", tuple(trial(number, 0.9) for number in range(1, 13)))
    shown = list(trials(results, "trials.png"))
    assert len(shown) == 2 + 1 + 10 + 1
    assert shown[0] == "tuning: 12 trials, best on eval is trial 1 with loss 0.1000"
    assert shown[-1] == "trials: the best 10 of them above, all in trials.json, drawn in trials.png"
