"""One of Beam's workers on this machine, which ends with the run that started it.

    python -m pipeline.beam_worker PARENT

PARENT is the number of the process that runs the pipeline. Beam's own worker waits for ever for a
process that was killed before the worker has connected, and stays if it is stopped itself.
"""

from __future__ import annotations

import sys

from trainer.host.children import killed_with

if __name__ == "__main__":
    killed_with(int(sys.argv[1]))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)
