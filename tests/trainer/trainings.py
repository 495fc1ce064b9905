"""The training of one machine as a process: what TFX would ask of `run_fn`."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.trainer.samples import SPEC
from trainer.hparams import HParams

RUN = """
import json, logging, sys, types
from trainer.run_fn import run_fn
logging.basicConfig(level="INFO", format="%(message)s")
run_fn(types.SimpleNamespace(**json.loads(sys.argv[1])))
"""


class Training:
    """What TFX would give `run_fn`, with all that it writes below one folder."""

    def __init__(self, prepared, root: Path, *, seed: int = 3, **hparams) -> None:
        self.environment: dict[str, str] = {}
        self.exported = root / "serving"
        self.checkpoints = root / "checkpoints"
        hparams = HParams(
            **{"epochs": 30, "per_replica_batch": 8, "dropout": 0.3, "averaging": 0.9} | hparams
        )
        self.fn_args = {
            "train_files": [prepared.train_files],
            "eval_files": [prepared.eval_files],
            "transform_graph_path": prepared.transform_output,
            "serving_model_dir": str(self.exported),
            "model_run_dir": str(root / "logs"),
            "hyperparameters": None,
            "custom_config": {
                "spec": SPEC.to_config(),
                "hparams": hparams.to_config(),
                "seed": seed,
                "replicas": 0,
                "code": "0" * 64,
                "checkpoints": str(self.checkpoints),
            },
        }

    def start(self) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps(self.fn_args)],
            env={**os.environ, **self.environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> str:
        """Trains to the end; returns the log."""
        with self.start() as process:
            _, log = process.communicate(timeout=300)
        assert process.returncode == 0, log[-2000:]
        return log

    def run_and_kill_after(self, *, epoch: int) -> None:
        """SIGKILL as soon as a checkpoint of that epoch, or of a later one, is there."""
        with self.start() as process:
            while not has_checkpoint(self.checkpoints, epoch):
                assert process.poll() is None, process.stderr.read()[-2000:]
                time.sleep(0.001)
            process.kill()
        assert not self.exported.exists()

    def weights(self) -> dict[str, np.ndarray]:
        """Every variable of the exported model."""
        return exported_weights(self.exported)

    def files(self) -> dict[str, bytes]:
        """Every file of the exported model."""
        return exported_files(self.exported)


def has_checkpoint(checkpoints: Path, epoch: int) -> bool:
    """Whether there is one of that epoch, or of a later one where nobody looked in time."""
    return any(int(path.stem) >= epoch for path in checkpoints.glob("*/*.checkpoint"))


def exported_files(model: Path) -> dict[str, bytes]:
    """Every file of a SavedModel, by its path in it."""
    files = (path for path in model.rglob("*") if path.is_file())
    return {str(path.relative_to(model)): path.read_bytes() for path in files}


def exported_weights(model: Path) -> dict[str, np.ndarray]:
    """Every variable of a SavedModel."""
    reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "ATTRIBUTES" in name]
    return {name: reader.get_tensor(name) for name in names}


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert set(first) == set(second)
    assert len(first) >= 10  # the small network's weights
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
