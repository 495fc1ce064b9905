"""What is counted of an example for the reference of a release."""

import numpy as np
from tensorflow_model_analysis import constants

from components.evaluation.reference_metric import _Observation
from trainer import features


def test_the_size_is_that_of_the_stored_image_in_any_format() -> None:
    found = {
        features.IMAGE: np.array([b"\xff\xd8\xff no PNG"], object),
        features.MEAN_INTENSITY: np.array([0.5], np.float32),
        features.HEIGHT: np.array([480]),
        features.WIDTH: np.array([640]),
    }
    extracts = {
        constants.FEATURES_KEY: found,
        constants.LABELS_KEY: np.array([1.0, 0.0]),
        constants.PREDICTIONS_KEY: {features.PROBABILITIES: np.array([0.9, 0.1], np.float32)},
    }
    (counted,) = _Observation("").process(extracts)
    assert counted[-2:] == [("intensity", 100), ("size", "480x640")]
