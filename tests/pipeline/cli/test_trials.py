from pipeline.cli.summary import trials as lines
from trainer.tuning.results import COMPLETED, FAILED, Results, Trial


def trial(number: int, accuracy: float) -> Trial:
    values = {"learning_rate": 0.01, "width": 1.0 + number}
    return Trial(number, COMPLETED, values, 5, accuracy, eval_loss=1.0 - accuracy, seconds=3.0)


def test_the_best_trial_stands_first_and_a_failed_one_last() -> None:
    failed = Trial(2, FAILED, {"learning_rate": 0.03, "width": 0.5}, 5)
    results = Results("accuracy", (trial(1, 0.98), failed, trial(3, 0.99)))
    assert list(lines(results, "root/trials.png")) == [
        "tuning: 3 trials, best on eval is trial 3 with accuracy 0.9900; "
        "what it started from, trial 1: 0.9800",
        "hyper-parameters: learning_rate 0.01, width 4",
        "  trial  accuracy    loss  epochs   time  learning_rate  width",
        "      3    0.9900  0.0100       5  3.0 s           0.01      4",
        "      1    0.9800  0.0200       5  3.0 s           0.01      2",
        "      2    failed               5                  0.03    0.5",
        "trials: all in root/trials.json, drawn in root/trials.png",
    ]


def test_of_many_trials_the_best_ten_are_shown() -> None:
    results = Results("loss", tuple(trial(number, 0.9) for number in range(1, 13)))
    shown = list(lines(results, "trials.png"))
    assert len(shown) == 2 + 1 + 10 + 1
    assert shown[0] == "tuning: 12 trials, best on eval is trial 1 with loss 0.1000"
    assert shown[-1] == "trials: the best 10 of them above, all in trials.json, drawn in trials.png"
