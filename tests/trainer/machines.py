"""Two machines that train together, as real processes that find each other over loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests import loopback
from tests.trainer.trainings import RUN, Training
from trainer.job import job_file
from trainer.supervision import LAST_WORDS_S

WORKER = """
import logging, pathlib, sys
from trainer import supervision
logging.basicConfig(level="INFO", format="%(message)s")
job = pathlib.Path(sys.argv[1])
supervision.LAST_WORDS_S = float(sys.argv[2])
supervision.wait_for(job, seconds=300)
supervision.train(job)
"""

SOURCE = Path(__file__).parents[2]


class Machines:
    """A chief and a worker on one pipeline root, each with a folder of its own for what it writes.

    The model and TensorBoard's events go to relative paths: were the worker to write them too, its
    own folder would show it.
    """

    def __init__(self, training: Training, root) -> None:
        self.training, self.root = training, root
        training.fn_args |= {"serving_model_dir": "serving", "model_run_dir": "logs"}
        training.exported = self.folder(0) / "serving"
        self.ports = loopback.free_ports(2)

    def start_chief(self) -> subprocess.Popen:
        return self._start(RUN, json.dumps(self.training.fn_args), index=0)

    def start_worker(self, last_words_s: float = LAST_WORDS_S) -> subprocess.Popen:
        return self._start(WORKER, str(self.job), str(last_words_s), index=1)

    @property
    def job(self) -> Path:
        """Its file, which is there as long as the chief is at work."""
        return job_file(self.root)

    def folder(self, index: int) -> Path:
        """Of one machine."""
        return self.root / str(index)

    def _start(self, code: str, *arguments: str, index: int) -> subprocess.Popen:
        self.folder(index).mkdir(exist_ok=True)
        variable = loopback.tf_config(self.ports, index)
        with (self.root / f"{index}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                env={
                    **os.environ,
                    "TF_CONFIG": variable,
                    "PYTHONPATH": str(SOURCE),
                    "http_proxy": loopback.NO_PROXY_THERE,
                },
                cwd=self.folder(index),
                stderr=log,
            )

    def log(self, index: int) -> str:
        return (self.root / f"{index}.log").read_text()

    def end(self, *processes: subprocess.Popen) -> None:
        for process in processes:
            assert process.wait(timeout=300) == 0, self.log(0)[-3000:] + self.log(1)[-3000:]


def settings(batch: int) -> dict[str, float]:
    return {"epochs": 8, "per_replica_batch": batch, "dropout": 0.0}


def trained_alone(prepared, root: Path) -> Training:
    """One machine with the global batch that the two have together."""
    training = Training(prepared, root, **settings(batch=16))
    training.run()
    return training


def assert_close(first: Training, second: Training) -> None:
    expected = second.weights()
    for name, value in first.weights().items():
        np.testing.assert_allclose(value, expected[name], rtol=0.02, atol=0.02, err_msg=name)
