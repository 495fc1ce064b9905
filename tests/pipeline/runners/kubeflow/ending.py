"""Components that end in other ways than by doing their work."""

import os
import signal
import time
from typing import Any

from tfx.dsl.components.base import base_executor

from components.gate.check import Check, GateRefused, NotChecked


class CannotCheck(base_executor.BaseExecutor):
    def Do(self, *given: Any) -> None:
        raise NotChecked("the server ended with SIGKILL; the same command makes the check again")


class RefusesAsToldTo(base_executor.BaseExecutor):
    def Do(self, inputs: Any, outputs: Any, exec_properties: dict[str, Any]) -> None:
        raise GateRefused([Check.from_dict(one) for one in exec_properties["checks"]])


class SwallowsTheSignal(base_executor.BaseExecutor):
    """Gets SIGTERM, and ends as if it had done its work."""

    def Do(self, *given: Any) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except BaseException:
            pass


class TurnsTheSignalIntoAnError(SwallowsTheSignal):
    def Do(self, *given: Any) -> None:
        super().Do(*given)
        raise ValueError("a bare except took the signal for something else")


class TurnsTheSignalIntoARefusal(SwallowsTheSignal):
    def Do(self, *given: Any) -> None:
        super().Do(*given)
        raise GateRefused([])
