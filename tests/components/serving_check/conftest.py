"""A small exported model, what it predicts, and servers of it that several tests ask."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components.serving_check.asked_images import Sample, read_sample
from components.serving_check.contract import Ask, Server, Tensors
from components.serving_check.servers import serve
from tests.components.serving_check.asking import TIMEOUTS
from tests.components.serving_check.leftovers import running
from tests.trainer.samples import SPEC, png
from trainer import export, features
from trainer.hparams import HParams
from trainer.model import build_model

Predictions = dict[str, np.ndarray]


def _export(prepared, path: Path, *, but: str | None = None) -> Path:
    """A SavedModel with random weights, and with all signatures but one if that is named."""
    network = build_model(HParams(), image_shape=SPEC.image_shape, num_classes=SPEC.num_classes)
    graph = tft.TFTransformOutput(prepared.transform_output)
    served = export.ServingModel(network, graph, SPEC)
    signatures = {name: made for name, made in served.signatures().items() if name != but}
    tf.saved_model.save(served, str(path), signatures=signatures)
    return path


def _predictions(prepared, exported: Path) -> Predictions:
    """As the Evaluator keeps them: of each image of `eval`, asked alone."""
    model = tf.saved_model.load(str(exported))
    predict = model.signatures[features.SERVING_DEFAULT]
    predictions = {}
    for image in prepared.eval_pixels:
        encoded = png(image)
        answer = predict(image_bytes=tf.constant([encoded]))[features.PROBABILITIES].numpy()
        (predictions[hashlib.sha256(encoded).hexdigest()],) = answer
    return predictions


@pytest.fixture(scope="session")
def split_uri(prepared) -> str:
    return str(Path(prepared.eval_files).parent)


@pytest.fixture(scope="session")
def exported(prepared, tmp_path_factory) -> Path:
    return _export(prepared, tmp_path_factory.mktemp("exported") / "model")


@pytest.fixture(scope="session")
def predictions(prepared, exported) -> Predictions:
    return _predictions(prepared, exported)


@pytest.fixture(scope="session")
def sample(split_uri, predictions) -> Sample:
    return read_sample(split_uri, predictions, SPEC)


@pytest.fixture(scope="session")
def another_models_sample(prepared, split_uri, tmp_path_factory) -> Sample:
    """The same images with the predictions of other weights."""
    other = _export(prepared, tmp_path_factory.mktemp("other") / "model")
    return read_sample(split_uri, _predictions(prepared, other), SPEC)


@pytest.fixture(scope="session")
def without_pixels(prepared, tmp_path_factory) -> Path:
    """An export that lacks the signature `predict_pixels`."""
    path = tmp_path_factory.mktemp("without") / "model"
    return _export(prepared, path, but=features.PREDICT_PIXELS)


@pytest.fixture(scope="session")
def loader(exported) -> Iterator[Server]:
    with serve(exported, None, TIMEOUTS) as server:
        yield server


def _remembered(ask: Ask) -> Ask:
    """Answers from memory where the same was asked before; a request that fails is made again."""
    known: dict[tuple, Tensors] = {}

    def asked(signature: str, inputs: Tensors) -> Tensors:
        given = ((name, value.dtype, value.shape, *value.flat) for name, value in inputs.items())
        key = signature, *given
        if key not in known:
            known[key] = ask(signature, inputs)
        return dict(known[key])

    return asked


@pytest.fixture(scope="session")
def remembering(loader) -> Server:
    """The loader, for tests in which nothing of its own is in question."""
    return dataclasses.replace(loader, ask=_remembered(loader.ask))


@pytest.fixture
def few_requests(monkeypatch) -> None:
    """The latency, which is not in question, is measured by 3 × 20 requests."""
    monkeypatch.setattr("components.serving_check.questions.LATENCY_REQUESTS", 20)


class Clock:
    """The time that the checks measure; it goes on by what a test adds alone."""

    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("components.serving_check.questions.time", clock)
    return clock


@pytest.fixture
def truncated(exported, tmp_path) -> Path:
    """The export with half of its weights: an interrupted copy."""
    path = tmp_path / "truncated"
    for source in exported.rglob("*"):
        if source.is_file():
            target = path / source.relative_to(exported)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = source.read_bytes()
            cut = len(content) // 2 if "variables.data" in source.name else len(content)
            target.write_bytes(content[:cut])
    return path


@pytest.fixture
def nothing_left(exported, tmp_path, monkeypatch):
    """A link to the export and an empty temporary directory; neither may be in use afterwards."""
    model = tmp_path / "linked"
    model.symlink_to(exported)
    # Short, as a UNIX socket's path has 107 bytes at most: pytest's own directories take many.
    with tempfile.TemporaryDirectory() as temporary:
        monkeypatch.setattr("tempfile.tempdir", temporary)
        yield model
        assert list(Path(temporary).iterdir()) == []
        assert running(temporary) == []
    assert running(str(tmp_path)) == []
    assert (exported / "saved_model.pb").is_file()  # links were removed, not what they point to
