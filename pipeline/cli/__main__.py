"""The console script `tfx-mnist`, and `python -m pipeline.cli` where that is not installed."""

from __future__ import annotations

import signal
import sys


def start() -> int:
    """Runs the command line of this process; Ctrl-C during the imports ends it without a word."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else it is ignored, as behind `nohup`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.cli.main import main

    signal.signal(signal.SIGINT, handler)
    return main()


if __name__ == "__main__":
    sys.exit(start())
