import pytest

from trainer.hparams import HParams
from trainer.tuning.space import search_space

SEARCHED = {
    *("learning_rate", "width", "dropout", "weight_decay", "label_smoothing"),
    *("max_shift", "max_rotation", "max_zoom"),
}


@pytest.mark.parametrize(
    "hparams", [HParams(), HParams(learning_rate=1.0, dropout=0.35, max_shift=4, width=2.0)]
)
def test_the_search_starts_from_the_hyper_parameters_themselves(hparams):
    space = search_space(hparams, objective="accuracy")
    assert space.values == {name: getattr(hparams, name) for name in SEARCHED}


def test_every_value_that_can_be_drawn_is_valid():
    space = search_space(HParams(), objective="accuracy")
    for seed in range(20):
        drawn = {hp.name: hp.random_sample(seed) for hp in space.space}
        assert HParams(**drawn).learning_rate <= 0.03


def test_the_loss_does_not_judge_what_raises_it_on_purpose():
    space = search_space(HParams(), objective="loss")
    assert set(space.values) == SEARCHED - {"label_smoothing"}
