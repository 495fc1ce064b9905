"""Which process sees which GPUs, and what of a machine whose GPUs TensorFlow cannot use.

The children that import TensorFlow first of all are in tests/test_working_directory.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.children import STARTS
from tests.loopback import free_ports, tf_config
from tests.trainer.trainings import Training

pytestmark = pytest.mark.slow

VISIBLE = "CUDA_VISIBLE_DEVICES"
SETTLED = "TFX_MNIST_CUDA_VISIBLE_DEVICES"  # in the process of the tests, so that it would be kept
ROOT = Path(__file__).parents[2]
# On PYTHONPATH, under the names `tensorflow` and `where`.
PROBE = f"""
import os
def say(*_):
    with open(os.environ["FOUND"], "w") as file:
        file.write(os.environ.get({VISIBLE!r}, "unset"))
if __name__ == "tensorflow":
    say()
    os._exit(0)
"""
# These import TensorFlow themselves.
OWN = {
    "the run": """
from pipeline.cli.main import main
main(["run", "--dataset", "mnist_sample", "--tune", "--pipeline-root", "root"])
""",
    "the chief of a search": """
from trainer.tuning.processes import chief_of_local_workers
with chief_of_local_workers():
    import trainer.tuning.tuner_fn
""",
    "a prediction": """
import components.serving_check.classifier
import tensorflow
""",
}
CASES = [(kind, "0,1") for kind in OWN] + [("a training", given) for given in ("unset", "", "-1")]


def environment(given: str, **variables: str) -> dict[str, str]:
    """That of a user, in which nothing of ours is settled."""
    own = {name: text for name, text in os.environ.items() if VISIBLE not in name}
    return {**own, **({} if given == "unset" else {VISIBLE: given}), **variables}


@pytest.mark.once  # what stands in for TensorFlow reads variables that we set
@pytest.mark.parametrize(("kind", "given"), CASES)
def test_only_those_that_train_see_what_the_user_lets_them_see(kind, given, tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("tensorflow", "where"):
        (tmp_path / "mine" / f"{name}.py").write_text(PROBE)
    (tmp_path / "command.py").write_text({**STARTS, **OWN}[kind])
    variables = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "mine"), str(ROOT)]),
        "FOUND": str(tmp_path / "found"),
    }
    done = subprocess.run(
        [sys.executable, "command.py"],
        cwd=tmp_path,
        env=environment(given, **variables),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "found").read_text() == ("-1" if kind in OWN else given)


@pytest.fixture
def broken(tmp_path) -> dict[str, str]:
    """Variables of a machine that has a GPU's device file, but no GPU that TensorFlow sees."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    (tmp_path / "mine").mkdir()
    # Python imports this module when it starts, in children too.
    (tmp_path / "mine" / "sitecustomize.py").write_text(
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "import trainer.environment\n"
        f"trainer.environment.GPU_FILES = {str(tmp_path / 'dev' / 'nvidia[0-9]*')!r}\n"
    )
    return {"PYTHONPATH": str(tmp_path / "mine")}


UNUSABLE = (
    "there are NVIDIA GPUs (FOLDER/nvidia0), but TensorFlow cannot use them: `tfx-mnist doctor` "
    "names what is missing; or set CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
)
NO_SUCH_GPU = "99"  # none on a machine with GPUs either


def test_a_run_on_gpus_that_tensorflow_cannot_use_is_refused_before_it_begins(broken, tmp_path):
    root = tmp_path / "root"
    words = ["run", "--dataset", "mnist_sample", "--pipeline-root", str(root)]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *words],
        env=environment(NO_SUCH_GPU, **broken),
        capture_output=True,
        text=True,
        timeout=300,
    )
    line = UNUSABLE.replace("FOLDER", str(tmp_path / "dev"))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tfx-mnist: {line}\n")
    assert not root.exists() or not list(root.iterdir())


@pytest.mark.once  # a run asks TensorFlow on both
def test_each_machine_looks_at_its_own_before_it_waits_for_the_others(prepared, broken, tmp_path):
    training = Training(prepared, tmp_path / "training", epochs=1)
    cluster = {"TF_CONFIG": tf_config(free_ports(2), 0)}
    training.environment = {VISIBLE: NO_SUCH_GPU, SETTLED: NO_SUCH_GPU, **broken, **cluster}
    with training.start() as process:
        _, log = process.communicate(timeout=300)
    line = UNUSABLE.replace("FOLDER", str(tmp_path / "dev"))
    assert log.endswith(f"trainer.training_process.TrainingFailed: {line}\n")
    assert not training.exported.exists()


@pytest.mark.once  # nobody asks TensorFlow
def test_a_training_runs_on_the_cpu_if_the_user_hides_them(broken):
    code = "from trainer.training_process import *; TrainingProcess(0).require_devices()"
    environment = {**os.environ, VISIBLE: "-1", SETTLED: "-1", **broken}
    subprocess.run([sys.executable, "-c", code], env=environment, timeout=300, check=True)
