"""A stand-in for the backend: walks the compiled DAG and calls our entrypoint, in this process.

It hands values over as the driver does: every number a double, artifacts named by ids, an output
of its own for logs. What follows a task that failed does not run, and what may be cached runs once
with the same parameters and artifacts.
"""

import dataclasses
import functools
import graphlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.runners.kubeflow import entrypoint
from pipeline.runners.kubeflow.names import task_name
from pipeline.runners.kubeflow.task_io import Answer
from tests.pipeline.runners.kubeflow.compiled import documents
from tests.pipeline.runners.kubeflow.executor_inputs import artifact, executor_input

# A short training on `tests.pipeline.thirds`, whose model passes whatever it learned.
ANY_MODEL = {
    "training.epochs": 1,
    "training.per_replica_batch": 32,
    "training.max_shift": 0,
    "gate.floor": 0.0,
    "gate.class_floor": 0.0,
    "gate.max_cross_entropy": 100.0,
    "gate.max_drop": 1.0,
    "gate.confidence": 0.999999,
    "data_gate.max_train_test_overlap": 0.1,  # 1 of 60 is 0.017
    "serving.max_p99_latency_ms": 10_000.0,  # the machine may be busy
}


@dataclasses.dataclass(frozen=True)
class Ended:
    """A task that ran: its exit code, its message, what it wrote, and what it was given."""

    code: int
    message: str
    answer: Answer | None
    parameters: Mapping[str, Any]
    arguments: Sequence[str]


class Backend:
    """Runs one compiled pipeline any number of times."""

    def __init__(self, text: str, root: Path) -> None:
        self.pipeline, _ = documents(text)
        self._root = root
        self._ids = itertools.count(1)
        self._attempts: dict[str, Callable[[Path], Ended]] = {}
        self._cache: dict[str, Ended] = {}  # by what a task was given
        self._names: dict[str, str] = {}  # of artifacts, by their URI

    def run(self, **values: Any) -> dict[str, Ended]:
        """Each task that ran, now or before, by its name; values are of the runtime parameters."""
        defaults = self.pipeline["root"]["inputDefinitions"]["parameters"]
        given = {name: one["defaultValue"] for name, one in defaults.items()} | values
        folder = self._root / f"run-{next(self._ids)}"
        ended: dict[str, Ended] = {}
        tasks = self.pipeline["root"]["dag"]["tasks"]
        needed = {id_: task.get("dependentTasks", ()) for id_, task in tasks.items()}
        for id_ in graphlib.TopologicalSorter(needed).static_order():
            task, name = tasks[id_], tasks[id_]["taskInfo"]["name"]
            upstream = [ended.get(task_name(one)) for one in needed[id_]]
            if all(one is not None and one.code == 0 for one in upstream):
                parameters, inputs = self._given(task, given, ended)
                attempt = functools.partial(self._task, task, parameters, inputs)
                self._attempts[name] = attempt
                key = json.dumps([name, parameters, inputs])
                ended[name] = self._cache.get(key) or attempt(folder / id_)
                if task["cachingOptions"].get("enableCache") and ended[name].code == 0:
                    self._cache[key] = ended[name]
        return ended

    def retry(self, name: str) -> Ended:
        """The task once more, as it ran last: its answer was lost."""
        return self._attempts[name](self._root / f"retry-{next(self._ids)}")

    def _given(
        self, task: Mapping[str, Any], given: Mapping[str, Any], ended: Mapping[str, Ended]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """A task's parameters and input artifacts, by their names."""
        parameters = {
            key: _value(source, given, ended)
            for key, source in task["inputs"]["parameters"].items()
        }
        inputs = {
            key: self._input(source["taskOutputArtifact"], ended)
            for key, source in task["inputs"].get("artifacts", {}).items()
        }
        return parameters, inputs

    def _task(
        self,
        task: Mapping[str, Any],
        parameters: Mapping[str, Any],
        inputs: Mapping[str, Any],
        folder: Path,
    ) -> Ended:
        folder.mkdir(parents=True)
        component = self.pipeline["components"][task["componentRef"]["name"]]
        declared = component.get("outputDefinitions", {})
        text = executor_input(
            folder / "executor_output.json",
            parameters=parameters,
            inputs=inputs,
            outputs={
                **{key: artifact(folder / key) for key in declared.get("artifacts", {})},
                "executor-logs": artifact(folder / "executor-logs"),
            },
            output_parameters=tuple(declared.get("parameters", ())),
        )
        container = self.pipeline["deploymentSpec"]["executors"][component["executorLabel"]]
        arguments = [text if one == "{{$}}" else one for one in container["container"]["args"]]
        message, output = folder / "termination-log", folder / "executor_output.json"
        message.touch()
        code = entrypoint.main(arguments, termination_log=message)
        answer = Answer.parse(output.read_text()) if output.exists() else None
        return Ended(code, message.read_text(), answer, parameters, arguments)

    def _input(self, source: Mapping[str, str], ended: Mapping[str, Ended]) -> dict[str, Any]:
        written = ended[task_name(source["producerTask"])].answer.artifacts[
            source["outputArtifactKey"]
        ]
        metadata = json.loads(json.dumps(dict(written.metadata)), parse_int=float)
        name = self._names.setdefault(written.uri, str(next(self._ids)))
        return artifact(written.uri, name=name, **metadata)


def _value(source: Mapping[str, Any], given: Mapping[str, Any], ended: Mapping[str, Ended]) -> Any:
    if "componentInputParameter" in source:
        value = given[source["componentInputParameter"]]
    elif "runtimeValue" in source:
        value = source["runtimeValue"]["constant"]
    else:
        task, key = (
            source["taskOutputParameter"][n] for n in ("producerTask", "outputParameterKey")
        )
        value = ended[task_name(task)].answer.parameters[key]
    return float(value) if isinstance(value, int) else value
