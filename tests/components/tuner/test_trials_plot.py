import io

from PIL import Image

from components.tuner.trials_plot import draw
from trainer.tuning.results import COMPLETED, FAILED, Results, Trial


def trial(number: int, accuracy: float | None) -> Trial:
    return Trial(
        number=number,
        status=FAILED if accuracy is None else COMPLETED,
        values={"learning_rate": 0.01 * number, "dropout": 0.1, "weight_decay": 0.0},
        epochs=2,
        eval_accuracy=accuracy,
        eval_loss=None if accuracy is None else 1.0 - accuracy,
    )


def pixels(results: Results) -> bytes:
    image = Image.open(io.BytesIO(draw(results)))
    assert image.format == "PNG"
    # The course and three hyper-parameters in rows of three: 12 by 6 inches of 120 pixels.
    assert image.size == (1440, 720)
    return image.tobytes()


def test_a_search_with_a_failed_trial_is_drawn_and_the_objective_counts() -> None:
    trials = (trial(1, None), trial(2, 0.8), trial(3, 0.9))
    assert pixels(Results("accuracy", trials)) != pixels(Results("loss", trials))
