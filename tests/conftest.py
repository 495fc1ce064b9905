"""Settings that every test shares, and a small colour data set with its transform graph."""

import dataclasses
import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from xdist.scheduler import LoadFileScheduling

# Read by TensorFlow, Keras and tfds when they are first imported, which is after this file.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Tests must give the same results with and without an accelerator.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# Nothing that is tested with drawn values depends on how fast the machine is.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")


def pytest_configure() -> None:
    """Lets Ctrl-C reach the processes that tests start, also where a shell's `&` has it ignored.

    Setting it in a child before its program is loaded needs a fork, in which gRPC's handlers write
    to the child's stderr. SIGTERM ends the tests as Ctrl-C does, since the processes of a cluster
    would outlive tests that end at once.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    del sys.argv[1:]  # TFX reads it for every Beam pipeline, and takes pytest's words for its own
    from trainer.environment import collect_seldom  # which settles what is set above

    collect_seldom()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: the processes of xdist take them in turn, and end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


# Folders whose files share what takes longer to make than most files take.
TOGETHER = ("tests/components/evaluation/", "tests/components/serving_check/")


class Scheduling(LoadFileScheduling):
    """A process of xdist gets a file at a time, or one of those folders."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next((each for each in TOGETHER if nodeid.startswith(each)), None)
        return folder or super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Spares Beam work, as runs do; what was imported stays, and is not searched for garbage."""
    if "apache_beam" in sys.modules:
        from pipeline.quick_beam import remember_answers

        remember_answers()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tensorflow-datasets, Beam and AutoGraph leave in it goes with these tests."""
    tmp_path_factory.getbasetemp()  # pytest's own directory stays where it is
    with tempfile.TemporaryDirectory(prefix="tfx-mnist-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o711)  # some tests work in it as another user
        tempfile.tempdir = folder
        yield
    tempfile.tempdir = None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A small colour data set (`tests.trainer.samples`): its files, what is in them, its graph."""

    train_files: str
    eval_files: str
    transform_output: str
    train_pixels: np.ndarray
    train_labels: np.ndarray
    eval_pixels: np.ndarray
    eval_labels: np.ndarray


def _write(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    import tensorflow as tf

    from tests.trainer.samples import png, serialize

    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for image, label in zip(pixels, labels, strict=True):
            writer.write(serialize(png(image), int(label), float(image.mean()) / 255))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    from tests.trainer.samples import draw
    from tests.trainer.transforms import write_image_transform

    root = tmp_path_factory.mktemp("prepared")
    train_pixels, train_labels = draw(96, seed=1)
    eval_pixels, eval_labels = draw(32, seed=2)
    _write(root / "train" / "data-00000-of-00001.gz", train_pixels, train_labels)
    _write(root / "eval" / "data-00000-of-00001.gz", eval_pixels, eval_labels)
    transform = write_image_transform(root / "transform", train_pixels, train_labels)
    return Prepared(
        train_files=str(root / "train" / "*"),
        eval_files=str(root / "eval" / "*"),
        transform_output=transform,
        train_pixels=train_pixels,
        train_labels=train_labels,
        eval_pixels=eval_pixels,
        eval_labels=eval_labels,
    )
