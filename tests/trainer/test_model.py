import numpy as np
import pytest

from trainer.architectures import ARCHITECTURES
from trainer.hparams import HParams
from trainer.model import build_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (0, 3, 1)], ids=str)
def test_one_logit_per_class_for_any_shape(architecture, shape):
    """Heights and widths of less than the least one are added to it."""
    least = ARCHITECTURES[architecture].min_side
    shape = tuple(side if side >= least else least + side for side in shape[:2]) + shape[2:]
    model = build_model(HParams(architecture=architecture), image_shape=shape, num_classes=7)
    assert model(np.zeros((2, *shape), np.float32)).shape == (2, 7)


def test_article_has_the_articles_layers():
    model = build_model(
        HParams(architecture="article", dropout=0.5), image_shape=(28, 28, 1), num_classes=10
    )
    layers = [
        "InputLayer",
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "Dropout",
        "Flatten",
        "Dense",
        "Dropout",
        "Dense",
    ]
    assert [type(layer).__name__ for layer in model.layers] == layers
    # conv 3x3: 32*(9+1); conv 3x3: 64*(9*32+1); dense: 128*(11*11*64+1); logits: 10*(128+1)
    assert model.count_params() == 320 + 18496 + 991360 + 1290


def test_convnet_is_the_small_one():
    model = build_model(HParams(), image_shape=(28, 28, 1), num_classes=10)
    # conv 5x5: 24*(25+1); conv 3x3: 32*(9*24+1); dense without bias: 256*6*6*32;
    # batch normalization: 4*256; logits: 10*(256+1)
    assert model.count_params() == 624 + 6944 + 294912 + 1024 + 2570


def test_deep_has_five_convolutions():
    model = build_model(HParams(architecture="deep"), image_shape=(28, 28, 1), num_classes=10)
    # conv 5x5: 32*25; conv 3x3: 64*9*32, 64*9*64, 128*9*64, 128*9*128; dense: 256*4*4*128, all
    # without bias; batch normalization: 4*(32+64+64+128+128+256); logits: 10*(256+1)
    convolutions = 800 + 18432 + 36864 + 73728 + 147456
    assert model.count_params() == convolutions + 524288 + 2688 + 2570


def test_deep_drops_behind_each_pooling_and_before_both_dense_layers():
    hparams = HParams(architecture="deep", dropout=0.3)
    model = build_model(hparams, image_shape=(28, 28, 1), num_classes=10)
    drops = [layer for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert [drop.rate for drop in drops] == [0.3] * 4
    shapes = [(12, 12, 32), (6, 6, 64), (2048,), (256,)]
    assert [drop.output.shape[1:] for drop in drops] == shapes


@pytest.mark.parametrize(("side", "first"), [(32, 32), (63, 63), (64, 32), (256, 32)])
def test_residual_makes_features_of_the_same_number_at_any_size(side, first):
    model = build_model(
        HParams(architecture="residual"), image_shape=(side, side, 3), num_classes=10
    )
    sides = [one.output.shape[1] for one in model.layers if type(one).__name__ == "Add"]
    assert sides == [first, first, *[-(-first // 2)] * 2, *[-(-first // 4)] * 2]
    assert model.layers[-1].input.shape == (None, 64)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_width_multiplies_channels_and_units(architecture):
    def outputs(width):
        hparams = HParams(architecture=architecture, width=width)
        model = build_model(hparams, image_shape=(28, 28, 1), num_classes=10)
        return [layer.output.shape[-1] for layer in model.layers if layer.weights]

    one, half = outputs(1.0), outputs(0.5)
    assert half[:-1] == [count // 2 for count in one[:-1]]
    assert half[-1] == one[-1] == 10  # the classes stay
    assert set(outputs(0.001)[:-1]) == {1}  # and so does each layer
