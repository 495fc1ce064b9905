"""Whether kfp is there: it comes with an extra, and all but the containers' work needs it."""

from __future__ import annotations

import importlib.util

from pipeline.runners.failures import CannotStart


def require_kfp() -> None:
    """Ends what needs kfp before anything heavy is imported.

    Raises:
      CannotStart: there is no kfp; the line says what to install.
    """
    if importlib.util.find_spec("kfp") is None:
        raise CannotStart(
            "kfp is not installed, expected it for `tfx-mnist kubeflow`: pip install "
            "'tfx-mnist[kubeflow]'",
            1,
        )
