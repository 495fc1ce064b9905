"""Every Python process that we start, by the code of the one that starts it.

Each imports TensorFlow first of all, or calls `say` of a module `where`: stand-ins for these see
what it was given. Beam's worker is the only one that goes on.
"""

STARTS = {
    "a training": """
from trainer.training_process import TrainingProcess
started = TrainingProcess(0)
started.process.wait()
""",
    "a trial's training": """
import threading, types
from pathlib import Path
from trainer.tuning.processes import chief_of_local_workers, train_in_workers
with chief_of_local_workers():
    wait = threading.Event().wait
    train_in_workers(types.SimpleNamespace(search=wait, job_file=Path("job.json")), count=1)
""",
    "a trial's training that a user starts": """
import os, pathlib, sys
from pipeline.cli.main import main
from trainer.job import Job
part = {"TUNER_ID": "tuner0", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": "1"}
os.environ.update({f"KERASTUNER_{name}": value for name, value in part.items()})
job = pathlib.Path(os.environ["FOUND"]).with_name("job.json")
Job([], [], "", {}).write(job)
sys.exit(main(["worker", "--search", str(job)]))
""",
    "a served model": """
from pathlib import Path
from components.serving_check.contract import ServerLost, Timeouts
from components.serving_check.servers import serve
try:
    with serve(Path("model"), None, Timeouts()): pass
except ServerLost as lost:
    assert "exit status 0" in str(lost), lost
""",
    "a worker of Beam": """
import apache_beam as beam
from pipeline.beam_runner import beam_arguments
from where import say
words = ("--direct_num_workers=1", "--direct_running_mode=multi_processing")
with beam.Pipeline(argv=list(beam_arguments(words))) as p:
    _ = p | beam.Create([None]) | beam.Map(say)
""",
}
# These see the GPUs.
TRAINS = ("a training", "a trial's training", "a trial's training that a user starts")
