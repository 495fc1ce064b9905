"""A Spark cluster of real processes on this machine, with Beam's job server in front of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.e2e.job_services import JAVA, Process, Processes, answers, behind, kill
from tests.loopback import free_ports

JOB_DONE = "Successfully stopped SparkContext"  # says the log
_FIRST_TASKS = 4  # two on each Worker: of some 25 in ExampleGen


class Spark:
    """A Master, two Workers of one core, Beam's job server and a pool of Python workers.

    Args:
      jars: the folder of Spark's and Beam's.

    Attributes:
      beam_args: Beam's arguments for a run on it.
    """

    def __init__(self, processes: Processes, jars: Path) -> None:
        self._processes, self._jars = processes, jars
        self._workers: list[Process] = []
        self._started = 0  # Workers, those that are lost included
        # A Worker starts its executors with the jars of SPARK_HOME.
        (processes.folder / "jars").symlink_to(jars)
        master, web, job, artifact, expansion = free_ports(5)
        self._master = f"spark://localhost:{master}"
        words = ["--host", "localhost", "--port", str(master), "--webui-port", str(web)]
        self._java("master", "spark.deploy.master.Master", words, lambda: answers(master))
        self.start_worker()
        self.start_worker()
        words = [f"--spark-master-url={self._master}", f"--job-port={job}"]
        words += [f"--artifact-port={artifact}", f"--expansion-port={expansion}"]
        main = "beam.runners.spark.SparkJobServerDriver"
        self._java("jobs", main, words, lambda: answers(job))
        self.beam_args = (
            *behind(processes, job),
            # As on Flink: a worker is not stopped, or the pool would stop another executor's.
            "--environment_cache_millis=3600000",
            # All processes here have Beam's jars and this project: nothing is sent to them.
            f"--files_to_stage={jars}/slf4j-api-2.0.7.jar",
        )

    def start_worker(self) -> None:
        """Starts a Worker, and waits until the Master knows it."""
        name = f"worker-{self._started}"
        self._started += 1
        log = self._processes.log(name)
        words = ["--host", "localhost", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
        words += ["--work-dir", str(self._processes.folder / name), self._master]
        ready = lambda: "Successfully registered with master" in log.read_text()  # noqa: E731
        self._workers.append(self._java(name, "spark.deploy.worker.Worker", words, ready))

    def replace_busy_worker(self) -> bool:
        """Kills a Worker and its executor in the middle of a job and starts another Worker.

        Returns False, and does nothing, where no job has ended its first tasks.
        """
        _, _, job = self._processes.log("jobs").read_text().rpartition("Running Spark version")
        if job.count("Finished task") < _FIRST_TASKS or JOB_DONE in job:
            return False
        kill(self._workers.pop(0))
        self.start_worker()
        return True

    def _java(
        self, name: str, main: str, words: Sequence[str], ready: Callable[[], bool]
    ) -> Process:
        spark = [f"SPARK_HOME={self._processes.folder}", "SPARK_SCALA_VERSION=2.12"]
        command = ["env", *spark, "SPARK_LOCAL_IP=127.0.0.1", *JAVA, "-Dspark.ui.enabled=false"]
        command += ["-cp", f"{self._jars}/*", f"org.apache.{main}", *words]
        return self._processes.start(name, command, ready)
