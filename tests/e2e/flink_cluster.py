"""A Flink cluster of real processes on this machine, with Beam's job server in front of it."""

import json
import textwrap
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.e2e.job_services import JAVA, Process, Processes, answers, behind, kill
from tests.loopback import free_ports

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


class Flink:
    """A JobManager, two TaskManagers of one slot, Beam's job server and a pool of Python workers.

    Args:
      jars: the folder of Flink's and Beam's.
      restarts: a restart strategy of Flink: "none" (its default) or "fixed-delay".

    Attributes:
      beam_args: Beam's arguments for a run on it.
    """

    def __init__(self, processes: Processes, jars: Path, restarts: str = "none") -> None:
        self._processes, self._jars = processes, jars
        self._workers: list[Process] = []
        self._started = 0  # TaskManagers, those that are lost included
        master, self._rest, job, artifact, expansion = free_ports(5)
        configuration = _FLINK.format(
            master=master, rest=self._rest, folder=processes.folder, restarts=restarts
        )
        (processes.folder / "flink-conf.yaml").write_text(textwrap.dedent(configuration))
        self._configured = ["--configDir", str(processes.folder)]
        main = "flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        self._java("master", main, self._configured, lambda: answers(master))
        self.start_worker()
        self.start_worker()
        words = [f"--flink-master=localhost:{self._rest}", f"--job-port={job}"]
        words += [f"--artifact-port={artifact}", f"--expansion-port={expansion}"]
        main = "beam.runners.flink.FlinkJobServerDriver"
        self._java("jobs", main, words, lambda: answers(job))
        self.beam_args = (
            *behind(processes, job),
            "--parallelism=2",
            # A Python worker is taken over by the next stage, and never stopped: all TaskManagers
            # call theirs 1-1, so that the pool, which they share here, would stop another one's.
            "--environment_cache_millis=3600000",
            # All processes here have Beam's jars and this project: nothing is sent to them.
            f"--files_to_stage={jars}/slf4j-api-1.7.30.jar",
        )

    def start_worker(self) -> None:
        """Starts a TaskManager, and waits until the JobManager knows it."""
        name = f"worker-{self._started}"
        self._started += 1
        log = self._processes.log(name)

        def registered() -> bool:
            return "Successful registration at resource manager" in log.read_text()

        main = "flink.runtime.taskexecutor.TaskManagerRunner"
        self._workers.append(self._java(name, main, self._configured, registered))

    def replace_busy_worker(self) -> bool:
        """Kills a TaskManager in the middle of a job and starts another; False if none is there.

        A third of the job's tasks have ended by then.
        """
        jobs = self._asked("jobs/overview")["jobs"]
        tasks = [job["tasks"] for job in jobs if job["state"] == "RUNNING"]
        if not any(3 * counts["finished"] >= counts["total"] > 0 for counts in tasks):
            time.sleep(0.2)
            return False
        kill(self._workers.pop(0))
        self.start_worker()
        return True

    def _java(
        self, name: str, main: str, words: Sequence[str], ready: Callable[[], bool]
    ) -> Process:
        command = [*JAVA, "-cp", f"{self._jars}/*", f"org.apache.{main}", *words]
        return self._processes.start(name, command, ready)

    def _asked(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://localhost:{self._rest}/{path}", timeout=60) as answer:
            return json.load(answer)
