"""A Flink cluster of real processes on this machine, with Beam's job server in front of it."""

import json
import textwrap
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.job_services import Cluster, Processes
from tests.loopback import answers, free_ports

# A pipeline has dozens of shuffles: with Flink's 512 buffers of 32 KiB for each, 1 GiB would not
# do. With Beam's classes from the parent, a Python worker is kept from stage to stage. Jobs that
# are restarted start anew as a whole: by regions, Flink's default, each region costs an attempt.
_FLINK = """
    jobmanager.rpc.address: localhost
    jobmanager.rpc.port: {master}
    rest.address: localhost
    rest.bind-address: localhost
    rest.port: {rest}
    io.tmp.dirs: {folder}
    heartbeat.interval: 1000
    restart-strategy.type: {restarts}
    restart-strategy.fixed-delay.attempts: 3
    restart-strategy.fixed-delay.delay: 5 s
    jobmanager.execution.failover-strategy: full
    classloader.resolve-order: parent-first
    taskmanager.numberOfTaskSlots: 1
    taskmanager.cpu.cores: 1
    taskmanager.network.sort-shuffle.min-buffers: 16
    taskmanager.memory.network.min: 256m
    taskmanager.memory.network.max: 256m
    taskmanager.memory.managed.size: 128m
    taskmanager.memory.task.heap.size: 384m
    taskmanager.memory.task.off-heap.size: 0m
    taskmanager.memory.framework.heap.size: 128m
    taskmanager.memory.framework.off-heap.size: 128m
    taskmanager.memory.jvm-metaspace.size: 256m
    taskmanager.memory.jvm-overhead.min: 192m
    taskmanager.memory.jvm-overhead.max: 192m
"""


class Flink(Cluster):
    """A JobManager, and TaskManagers of one slot, all of which a job needs.

    Args:
      restarts: a restart strategy of Flink: "none" (its default) or "fixed-delay".
    """

    registered = "Successful registration at resource manager"

    def __init__(self, processes: Processes, jars: Path, restarts: str = "none") -> None:
        super().__init__(processes, jars)
        master, self._rest = free_ports(2)
        configuration = _FLINK.format(
            master=master, rest=self._rest, folder=processes.folder, restarts=restarts
        )
        (processes.folder / "flink-conf.yaml").write_text(textwrap.dedent(configuration))
        self._configured = ["--configDir", str(processes.folder)]
        main = "flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self._start("master", main, self._configured, lambda: answers(master))
        main = "beam.runners.flink.FlinkJobServerDriver"
        self._start_all_else(main, f"--flink-master=localhost:{self._rest}")
        # Else a job uses one TaskManager, and the other one can be killed without a trace.
        self.beam_args += ("--parallelism=2",)

    def _worker(self, name: str) -> tuple[str, Sequence[str]]:
        return "flink.runtime.taskexecutor.TaskManagerRunner", self._configured

    def replace_busy_worker(self) -> bool:
        """Kills a TaskManager in the middle of a job and starts another; False if none is there.

        A third of the job's tasks have ended by then.
        """
        jobs = self._asked("jobs/overview")["jobs"]
        tasks = [job["tasks"] for job in jobs if job["state"] == "RUNNING"]
        if not any(3 * counts["finished"] >= counts["total"] > 0 for counts in tasks):
            time.sleep(0.2)
            return False
        self._replace_worker()
        return True

    def _asked(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://localhost:{self._rest}/{path}", timeout=60) as answer:
            return json.load(answer)
