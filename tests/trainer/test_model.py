import numpy as np
import pytest

from trainer.hparams import ARCHITECTURES, HParams
from trainer.model import build_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (8, 11, 1)])
def test_one_logit_per_class_for_any_shape(architecture, shape):
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


def test_images_too_small_to_pool_are_refused():
    with pytest.raises(ValueError, match="images are 4x28, expected 8x8 or larger"):
        build_model(HParams(), image_shape=(4, 28, 1), num_classes=10)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_width_multiplies_channels_and_units(architecture):
    def outputs(width):
        hparams = HParams(architecture=architecture, width=width)
        model = build_model(hparams, image_shape=(28, 28, 1), num_classes=10)
        return [layer.output.shape[-1] for layer in model.layers if layer.weights]

    one, half = outputs(1.0), outputs(0.5)
    assert half[:-1] == [count // 2 for count in one[:-1]]
    assert half[-1] == one[-1] == 10  # the classes stay
