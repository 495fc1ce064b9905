"""A Spark cluster of real processes on this machine, with Beam's job server in front of it."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.job_services import JAVA, Cluster, Processes
from tests.loopback import answers, free_ports

JOB_DONE = "Successfully stopped SparkContext"  # says the log
AGAIN = re.compile(r"Starting task (\d+\.[1-9]|\S+ in stage \d+\.[1-9])")  # says the log
_EXECUTORS = ("on localhost (executor 0)", "on localhost (executor 1)")


class Spark(Cluster):
    """A Master, and Workers of one core."""

    registered = "Successfully registered with master"

    def __init__(self, processes: Processes, jars: Path) -> None:
        super().__init__(processes, jars)
        # A Worker starts its executors with the jars of SPARK_HOME.
        (processes.folder / "jars").symlink_to(jars)
        spark = [f"SPARK_HOME={processes.folder}", "SPARK_SCALA_VERSION=2.12"]
        spark += ["SPARK_LOCAL_IP=127.0.0.1"]
        self.java = ["env", *spark, *JAVA, "-Dspark.ui.enabled=false"]
        master, web = free_ports(2)
        self._master = f"spark://localhost:{master}"
        words = ["--host", "localhost", "--port", str(master), "--webui-port", str(web)]
        self._start("master", "spark.deploy.master.Master", words, lambda: answers(master))
        main = "beam.runners.spark.SparkJobServerDriver"
        self._start_all_else(main, f"--spark-master-url={self._master}")

    def _worker(self, name: str) -> tuple[str, Sequence[str]]:
        words = ["--host", "localhost", "--webui-port", "0", "--cores", "1", "--memory", "1g"]
        words += ["--work-dir", str(self._processes.folder / name), self._master]
        return "spark.deploy.worker.Worker", words

    def replace_busy_worker(self) -> bool:
        """Kills a Worker and its executor in the middle of a job and starts another Worker.

        Returns False, and does nothing, where not each executor of a job has ended a task.
        """
        job = self.jobs()[-1]
        if JOB_DONE in job or not all(executor in job for executor in _EXECUTORS):
            return False
        self._replace_worker()
        return True

    def jobs(self) -> list[str]:
        """What the log says of each job; of none where there was none."""
        return self._processes.log("jobs").read_text().split("Running Spark version")[1:] or [""]
