"""Networks of the user's own: found and described without an import, built, and refused."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.refusals import refusal_of
from tests.trainer.test_loop import separable
from trainer import loop, own_network
from trainer.features import ImageSpec
from trainer.hparams import HParams
from trainer.model import build_model
from trainer.own_network import NetworkError
from trainer.state import WeightAverage
from trainer.strategy import mirrored_strategy

NET = """
from typing import Literal, Optional
import dataclasses
import keras

@dataclasses.dataclass
class Block:
    units: "int"

assert Block.__annotations__ == {"units": "int"}  # no __future__ of another file's holds here

def build(
    image_shape, num_classes, hparams, *,
    units: Literal[2, 4] = 4, bias=True, rate: Optional[float] = 0.5,
):
    image = keras.Input(image_shape)
    x = keras.layers.Dense(Block(units).units, use_bias=bias)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(num_classes)(x))

def subclassed(image_shape, num_classes, hparams):
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.stack = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(num_classes)])

        def call(self, image):
            return self.stack(image)

    return Net()

def softmax(image_shape, num_classes, hparams):
    return _ending(image_shape, keras.layers.Dense(num_classes, activation="softmax"))

def softmax_operation(image_shape, num_classes, hparams):
    image = keras.Input(image_shape)
    logits = keras.layers.Dense(num_classes)(keras.layers.Flatten()(image))
    return keras.Model(image, keras.ops.softmax(logits))

def softmax_inside(image_shape, num_classes, hparams):
    return _ending(
        image_shape, keras.Sequential([keras.layers.Dense(num_classes, activation="softmax")])
    )

def zero(image_shape, num_classes, hparams):
    return _ending(image_shape, keras.layers.Dense(num_classes, kernel_initializer="zeros"))

def wide(image_shape, num_classes, hparams):
    return _ending(image_shape, keras.layers.Dense(num_classes + 1))

def half(image_shape, num_classes, hparams):
    return _ending(image_shape, keras.layers.Dense(num_classes, dtype="bfloat16"))

def two(image_shape, num_classes, hparams):
    image = keras.Input(image_shape)
    x = keras.layers.Flatten()(image)
    return keras.Model(image, [x, keras.layers.Dense(num_classes)(x)])

def layer(image_shape, num_classes, hparams):
    return keras.layers.Dense(num_classes)

def fails(image_shape, num_classes, hparams):
    raise RuntimeError("no such\\nluck")

def operation(image_shape, num_classes, hparams):
    keras.ops.matmul(keras.ops.ones([2, 3]), keras.ops.ones([2, 3]))

def narrow(image_shape, num_classes):
    pass

def untrained(image_shape, num_classes, hparams):
    model = _ending(image_shape, keras.layers.Dense(num_classes))
    model.trainable = False
    return model

def exits(image_shape, num_classes, hparams):
    raise SystemExit(0)

def lower(image_shape, num_classes, hparams):
    return _ending(image_shape, keras.layers.Dense(2, dtype="bfloat16"), num_classes)

class Counter(keras.layers.Layer):
    def build(self, shape):
        self.calls = self.add_weight(shape=(), dtype="int32", trainable=False)

    def call(self, x):
        self.calls.assign_add(1)
        return x

def regularized(image_shape, num_classes, hparams, *, by=0.0):
    last = keras.layers.Dense(num_classes, kernel_regularizer=keras.regularizers.L2(by))
    flat = keras.layers.Flatten()
    return keras.Sequential([keras.Input(image_shape), flat, Counter(), last])

def spelled(image_shape, num_classes, hparams):
    import tensorflow as tf

    class Spelled(keras.layers.Layer):
        def call(self, x):
            mean = tf.strings.as_string(tf.reduce_mean(x))  # XLA has no text
            return x - tf.strings.to_number(mean)

    return _ending(image_shape, keras.Sequential([Spelled(), keras.layers.Dense(num_classes)]))

def _ending(image_shape, last, num_classes=0):
    if num_classes:
        last = keras.Sequential([last, keras.layers.Dense(num_classes, dtype="float32")])
    return keras.Sequential([keras.Input(image_shape), keras.layers.Flatten(), last])
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("nets") / "net.py"
    path.write_text(NET)
    return str(path)


def own(architecture: str, **changes) -> HParams:
    found = {own_network.SOURCE: own_network.read_source(architecture)}
    return HParams(architecture=architecture, found=found, **changes)


def built(hparams: HParams):
    return build_model(hparams, image_shape=(8, 8, 1), num_classes=3)


def trained(architecture: str, **changes):
    """(the network as it would be exported, the epochs)"""
    return loop.train(
        own(architecture, epochs=6, per_replica_batch=8, max_shift=0, **changes),
        spec=ImageSpec((8, 8, 1), ("above", "below")),
        train_split=separable(64, seed=1),
        eval_split=separable(32, seed=2),
        strategy=mirrored_strategy(),
        seed=5,
    )


def test_keyword_parameters_with_a_default_are_hyper_parameters(net: str) -> None:
    found = own_network.parameters(f"{net}:build", NET)
    assert {name: (one.default, one.parse, one.choices) for name, one in found.items()} == {
        "units": (4, int, (2, 4)),
        "bias": (True, bool, ()),
        "rate": (0.5, float, ()),
    }


def test_a_function_in_a_file_is_built_with_its_hyper_parameters(net: str) -> None:
    model = built(own(f"{net}:build", extra={"units": 2, "bias": False, "another": 1}))
    assert model.count_params() == 64 * 2 + 2 * 3 + 3


def test_the_source_that_was_found_is_built_wherever_the_file_is(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(NET)
    hparams = own(f"{file}:build")
    file.unlink()
    assert built(hparams).output_shape == (None, 3)


def test_a_subclass_of_a_model_is_a_network_like_any_other(net: str) -> None:
    model = built(own(f"{net}:subclassed"))
    assert model.output_shape == (None, 3)
    assert model(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 3)


def test_logits_that_are_all_zero_at_first_are_no_probabilities(net: str) -> None:
    assert np.all(built(own(f"{net}:zero"))(np.ones((2, 8, 8, 1), np.float32)) == 0.0)


def test_its_layers_have_the_precision_of_the_training(net: str) -> None:
    with pytest.raises(NetworkError, match="its output is bfloat16; give its last layer dtype="):
        built(own(f"{net}:build", precision="bfloat16"))
    assert keras.config.dtype_policy().name == "float32"  # of whatever is built then


@pytest.mark.parametrize("function", ["build", "subclassed"])
def test_a_function_in_a_file_is_trained(net: str, function: str) -> None:
    served, history = trained(f"{net}:{function}")
    assert history[-1].eval_accuracy == 1.0
    assert served.output_shape == (None, 2)


def test_a_regularizer_of_a_weight_is_minimized_and_a_counter_is_not_averaged(net: str) -> None:
    plain, shrunk = (
        trained(f"{net}:regularized", extra={"by": by}, averaging=0.9)[0] for by in (0.0, 10.0)
    )
    kernels = [np.abs(model.layers[-1].kernel).mean() for model in (plain, shrunk)]
    assert kernels[1] < kernels[0] / 2
    assert int(plain.layers[1].calls) >= 6 * 8  # the steps
    WeightAverage(plain, 0.9).restore(plain.get_weights())  # which leaves out the counter, too


def test_xla_compiles_the_step_if_it_is_asked_to(net: str) -> None:
    """Seen by a network that it cannot compile."""
    assert trained(f"{net}:spelled")[1][-1].eval_accuracy == 1.0
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"nsupported operations .* AsString"):
        trained(f"{net}:spelled", jit_compile=True)


def test_a_function_in_a_module_outside_of_the_package_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "nets_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("from keras import layers\n")
    (package / "flat.py").write_text(f"from .parts import layers\n{NET}")
    monkeypatch.syspath_prepend(tmp_path)
    served, history = trained("nets_of_a_test.flat:build")
    assert history[-1].eval_accuracy == 1.0
    assert served.count_params() == 64 * 4 + 4 + 4 * 2 + 2


def test_a_module_that_is_no_longer_the_one_that_was_found_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net_that_changes.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    found = own_network.read_source("net_that_changes:build")
    (tmp_path / "net_that_changes.py").write_text(f"{NET}\n# another one\n")
    with pytest.raises(
        NetworkError, match=r"its source has changed since the run began: run again"
    ):
        own_network.load("net_that_changes:build", found)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("softmax", "it ends in a softmax, which gives no logits"),
        ("softmax_operation", "it ends in a softmax, which gives no logits"),
        ("softmax_inside", "it ends in a softmax, which gives no logits"),
        ("wide", r"its output is \(None, 4\), expected one of the shape \(None, 3\)"),
        ("half", "its output is bfloat16; give its last layer dtype='float32'"),
        ("two", "its output is an object of type list, expected"),
        ("layer", "it returned an object of type Dense: expected a function of"),
        ("fails", r"images of the shape \(8, 8, 1\) it failed \(RuntimeError: no such luck\)"),
        ("operation", r"it failed \(InvalidArgumentError: "),
        ("narrow", "it failed .TypeError: narrow"),
        ("untrained", "it has no weight to train"),
        ("exits", r"it failed \(SystemExit: 0\)"),
        ("lower", "it trains weights of bfloat16, expected float32 alone"),
    ],
)
def test_what_makes_no_network_is_refused_in_one_line(net: str, function: str, reason: str) -> None:
    with pytest.raises(NetworkError, match=reason) as refused:
        built(own(f"{net}:{function}"))
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith("training.architecture is '")
    assert f"{function}', and " in line


def test_a_failed_operation_is_no_lost_machine_where_there_is_one(net: str) -> None:
    with pytest.raises(NetworkError, match="InvalidArgumentError"):
        trained(f"{net}:operation")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import os", "defines no such function: it defines none"),
        ("def other(): pass", "defines no such function: it defines other"),
        ("x = (", "it is no Python (SyntaxError: '(' was never closed (net.py, line 1))"),
        ("def build(a, b, c, *, d): pass", "its parameter d has no default that is a n"),
        ("def build(a, b, c, *, d=[1]): pass", "its parameter d has no default that is"),
        ("def build(a, b, c, *, d={[]}): pass", "its parameter d has no default that is"),
        (f"x = {'-' * 20_000}1", "it is no Python (MemoryError"),
        ("\0", "it is no Python ("),
        (
            "def build(a, b, c, *, d: Literal[1, 2] = 3): pass",
            "the default of d is none of its choices",
        ),
    ],
)
def test_a_source_without_such_a_function_is_refused(
    tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "net.py").write_text(content)
    assert reason in refusal_of(NetworkError, own_network.read_source, f"{tmp_path}/net.py:build")


@pytest.mark.parametrize(
    "file", ["a_net.py", "nets/__init__.py", "nets/a_net.py", "nets_in_two_folders/a_net.py"]
)
def test_the_source_of_a_module_is_read_and_nothing_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    for name in ("nets/__init__.py", file):
        path = tmp_path / "second" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise ImportError\n{NET}")
    (tmp_path / "first" / "nets_in_two_folders").mkdir(parents=True)
    for folder in ("second", "first"):
        monkeypatch.syspath_prepend(tmp_path / folder)
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    assert own_network.read_source(f"{module}:build") == path.read_text()


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("sys:build", "cannot be read (no module sys)"),
        ("gone.py:build", "its source cannot be read (No such file or directory)"),
        ("no_such_package.net:build", "cannot be read (no module no_such_package.net)"),
        ("trainer.no_such_module:build", "cannot be read (no module trainer.no_such_module)"),
        ("a-b:build", "cannot be read ('a-b' is no name of a module)"),
        ("trainer./:build", "cannot be read ('trainer./' is no name of a module)"),
    ],
)
def test_a_source_that_is_not_there_is_refused(named: str, reason: str) -> None:
    assert reason in refusal_of(NetworkError, own_network.read_source, named)


def test_a_file_that_imports_its_neighbour_is_refused(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_net.py").touch()
    (tmp_path / "net.py").write_text("import neighbour_of_net\ndef build(a, b, c): pass")
    with pytest.raises(NetworkError, match=r"No module named .*: a file may import installed pack"):
        built(own(f"{tmp_path}/net.py:build"))


def test_a_file_that_ends_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import sys\ndef build(a, b, c): pass\nsys.exit(0)")
    with pytest.raises(NetworkError, match=r"it cannot be imported \(SystemExit: 0\)"):
        built(own(f"{tmp_path}/net.py:build"))


def test_the_copy_of_the_source_stands_beside_the_model(net: str, tmp_path: Path) -> None:
    own_network.write_copy(own(f"{net}:build").found, str(tmp_path))
    assert (tmp_path / "assets.extra" / "network.py").read_text() == NET
    own_network.write_copy({}, str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
