"""The process that trains as one of keras-tuner's workers: `trainer.tuning.processes` starts it.

It trains what the chief proposes, until the search is over. The job file and what it names must be
readable here, by the same paths as for the chief. It ends when its standard input is closed, so
that it does not outlive the process that started it. SIGTERM ends it at once with 143, and SIGINT
with 130: what it has finished is on disk.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from trainer.garbage import collect_seldom
from trainer.host.termination import end_at_once
from trainer.tied import end_with_parent


def main(job_file: Path) -> int:
    """Works on a job; returns the exit code."""
    end_at_once("the same command goes on with the trials that are left")
    end_with_parent(exit_code=1)
    collect_seldom()
    from trainer.strategy import prepare_devices
    from trainer.tuning.processes import ORACLE_IP, ORACLE_PORT
    from trainer.tuning.search import Job, open_search
    from trainer.tuning.tune import load

    logging.basicConfig(level=logging.INFO)
    job = Job.read(job_file)
    prepare_devices(int(job.config["replicas"]))
    if job.hparams.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    chief = ":".join(os.environ.get(name, "") for name in (ORACLE_IP, ORACLE_PORT))
    logging.info("waiting for keras-tuner's chief at %s, an hour at most", chief)
    search = open_search(job)
    search.search(**load(job.train_files, job.eval_files, job.transform_output))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
