"""The console script `tfx-mnist`, and `python -m pipeline.cli` where that is not installed."""

from __future__ import annotations

import signal
import sys


def start() -> int:
    """Runs the command line of this process; Ctrl-C before or after that ends it without a word."""
    # Where it is ignored, as behind `nohup`, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipeline.cli.main import main
    from trainer.host.paths import own_temporary_directory

    own_temporary_directory()
    return main()


if __name__ == "__main__":
    sys.exit(start())
