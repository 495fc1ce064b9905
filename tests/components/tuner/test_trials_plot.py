import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from components.tuner.trials_plot import draw
from trainer.tuning.results import COMPLETED, FAILED, Results, Trial

NAN = float("nan")
VALUES = {"learning_rate": 0.01, "weight_decay": 0.0}


def trial(number: int, accuracy: float | None, **values: float) -> Trial:
    return Trial(
        number=number,
        status=FAILED if accuracy is None else COMPLETED,
        values={**VALUES, **values},
        epochs=2,
        eval_accuracy=accuracy,
        eval_loss=None if accuracy is None else 1.0 - accuracy,
    )


def test_it_is_a_png_of_three_pictures_in_a_row() -> None:
    image = Image.open(io.BytesIO(draw(Results("accuracy", (trial(1, 0.8),)))))
    # The course and two hyper-parameters: 12 by 3 inches of 120 pixels.
    assert (image.format, image.size) == ("PNG", (1440, 360))


@pytest.mark.parametrize(
    ("objective", "scores", "so_far", "best"),
    [
        ("accuracy", [NAN, 0.75, NAN, 0.875, 0.5], [NAN, 0.75, 0.75, 0.875, 0.875], "0.8750"),
        ("loss", [NAN, 0.25, NAN, 0.125, 0.5], [NAN, 0.25, 0.25, 0.125, 0.125], "0.1250"),
    ],
)
def test_the_scores_are_drawn_over_time_and_against_each_hyper_parameter(
    objective: str,
    scores: list[float],
    so_far: list[float],
    best: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: figures.append(figure))
    accuracies = (None, 0.75, None, 0.875, 0.5)
    draw(
        Results(objective, tuple(trial(n, a, dropout=0.1 * n) for n, a in enumerate(accuracies, 1)))
    )
    (figure,) = figures
    course, rate, decay, dropout, *empty = figure.axes

    trials, line, *failed = course.lines
    np.testing.assert_array_equal(trials.get_xydata().T, [range(1, 6), scores])
    np.testing.assert_array_equal(line.get_xydata().T, [range(1, 6), so_far])
    assert [list(one.get_xdata()) for one in failed] == [[1, 1], [3, 3]]

    against, star = dropout.lines
    np.testing.assert_array_equal(against.get_xydata().T, [0.1 * np.arange(1, 6), scores])
    assert star.get_xydata().tolist() == [[0.4, scores[3]]]
    assert dropout.get_xlabel() == "dropout"
    assert [one.get_xscale() for one in figure.axes[:4]] == ["linear", "log", "symlog", "linear"]
    assert [one.axison for one in (rate, decay, *empty)] == [True, True, False, False]
    (title,) = figure.texts
    said = f"5 trials, best (star) is trial 4 with eval {objective} {best}"
    assert title.get_text() == said
