"""One of keras-tuner's workers: trains what the chief proposes, until the search is over.

    KERASTUNER_TUNER_ID=tuner0 KERASTUNER_ORACLE_IP=10.0.0.1 KERASTUNER_ORACLE_PORT=8000 \
        python -m trainer.tuning.worker pipeline_root/tuning/KEY/job.json

The job file and what it names must be readable here, by the same paths as for the chief. SIGTERM
ends it at once with 143, and SIGINT with 130: what it has finished is on disk.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer.garbage import collect_seldom
from trainer.termination import end_at_once


def main(words: Sequence[str]) -> int:
    """Works on the job whose file is the first word."""
    # As a container's first process it would not get a signal that it does not handle.
    end_at_once("the same command goes on with the trials that are left")
    collect_seldom()
    from trainer.strategy import prepare_devices
    from trainer.tied import end_with_parent
    from trainer.tuning.processes import ORACLE_IP, ORACLE_PORT, TIED, is_worker
    from trainer.tuning.search import Job, open_search
    from trainer.tuning.tune import load

    if not words or not is_worker(os.environ):
        print(
            f"expected a job file, and {ORACLE_IP} and its like in the environment:\n{__doc__}",
            file=sys.stderr,
        )
        return 2
    if TIED in words:
        end_with_parent(exit_code=1)
    logging.basicConfig(level=logging.INFO)
    job = Job.read(Path(words[0]))
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
    raise SystemExit(main(sys.argv[1:]))
