"""The weights from which a training starts: a file of Keras, or a released version.

Synopsis::

    digest_of("serving/mnist/3")                # part of the cache keys
    start_from(model, hparams, build)           # gives `model` the weights; a line about the rest

A network is compared with the file variable by variable. Variables whose shape depends on the
number of classes are left as they are if the file has another number; everything else must fit.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.host.errors import Refusal
from trainer.host.files import read_pieces
from trainer.host.text import one_line, quoted

if TYPE_CHECKING:
    import keras

    from trainer.hparams import HParams

WEIGHTS = "weights"  # the key of the digest in `HParams.found`

_SUFFIX = ".weights.h5"
_VARIABLES = "variables/variables"  # of a SavedModel
_WEIGHTS = "weights/"  # of `trainer.export.ServingModel`
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_MAX_BYTES = 16 << 30
_MOST_CLASSES = 1 << 20

Shapes = Mapping[str, tuple[int, ...]]
Build = Callable[[int], "keras.Model"]  # of the number of classes


class WeightsError(Refusal, ValueError):
    """The weights cannot be used; the message is one line for the user."""


def digest_of(path: str) -> str:
    """Returns the hex SHA-256 of the weights; raises WeightsError if they cannot be read."""
    digest = hashlib.sha256()
    try:
        for file in _files(path):
            digest.update(f"{file.name}\0".encode())
            for piece in read_pieces(file, max_bytes=_MAX_BYTES):
                digest.update(piece)
    except OSError as error:
        raise WeightsError(
            f"training.weights is {quoted(path)}, which cannot be read ({error.strerror}): give a "
            f"{_SUFFIX} file, or the directory of a released version"
        ) from None
    return digest.hexdigest()


def _files(path: str) -> list[Path]:
    if not Path(path).is_dir():
        if Path(path).exists() and not path.endswith(_SUFFIX):
            raise WeightsError(
                f"training.weights is {quoted(path)}, expected a name that ends in {_SUFFIX}, or "
                "the directory of a released version"
            )
        return [Path(path)]
    files = sorted(Path(path).glob(f"{_VARIABLES}.*"))
    if not files:
        raise WeightsError(
            f"training.weights is {quoted(path)}, a directory without {_VARIABLES}.index, expected "
            "that of a released version, such as serving/mnist/3"
        )
    return files


def start_from(model: keras.Model, hparams: HParams, build: Build) -> str:
    """Gives a network in float32, outside of any strategy, the weights that `hparams` name.

    Args:
      model: the network.
      build: makes the same network for a number of classes.

    Returns:
      A line about the variables that were left as they are, or "".

    Raises:
      WeightsError: the weights do not fit, or are not those of which the digest was taken.
    """
    path = hparams.weights
    expected = hparams.found.get(WEIGHTS)
    if expected and digest_of(path) != expected:
        raise WeightsError(
            f"training.weights {path} has changed since the run began, or is another file on this "
            "machine: run again"
        )
    try:
        is_version = Path(path).is_dir()
        given, own = _shapes(path), _shapes_of(model, is_version=is_version)
        others = [name for name, shape in own.items() if given.get(name, shape) != shape]
        classes = given[others[0]][-1] if others else model.output_shape[-1]
        like = model
        if given.keys() == own.keys() and others and classes <= _MOST_CLASSES:
            like = build(classes)
            own = _shapes_of(like, is_version=is_version)
        _require_equal(like, path, given, own)
        _load(like, path)
    except WeightsError:
        raise
    except Exception as error:  # a file may be damaged in any way
        raise WeightsError(f"training.weights {path} cannot be read: {one_line(error)}") from error
    if like is model:
        return ""
    for variable, value in zip(model.weights, like.weights, strict=True):
        if variable.shape == value.shape:
            variable.assign(value)
    return (
        f"weights of {path} are for {classes} classes and not {model.output_shape[-1]}: the last "
        "layer starts anew"
    )


def _require_equal(model: keras.Model, path: str, given: Shapes, own: Shapes) -> None:
    for name in (*own, *given):
        if given.get(name) != own.get(name):
            found, expected = (
                f"the shape {shapes[name]}" if name in shapes else "no such weight"
                for shapes in (given, own)
            )
            raise WeightsError(
                f"training.weights {path} does not fit the network: at {_layer(model, name)} it "
                f"has {found}, expected {expected}; set training.architecture, width, dropout "
                "and extra as for the training that made it"
            )


def _layer(model: keras.Model, name: str) -> str:
    """Returns the name of a variable, and of its layer where a SavedModel has only a number."""
    number = name.removeprefix(_WEIGHTS)
    if not number.isdecimal() or int(number) >= len(model.weights):
        return name
    return f"{model.weights[int(number)].path} ({name})"


def _shapes(path: str) -> Shapes:
    """Returns the shape of each variable by the name that the file gives it."""
    if not Path(path).is_dir():
        import h5py

        found: dict[str, tuple[int, ...]] = {}

        def visit(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and not name.startswith("optimizer/"):
                found[name] = tuple(node.shape)

        with h5py.File(path, "r") as file:
            file.visititems(visit)
        return found
    import tensorflow as tf

    shapes = tf.train.load_checkpoint(str(Path(path, _VARIABLES))).get_variable_to_shape_map()
    return {
        name.removesuffix(_VALUE): tuple(shape)
        for name, shape in sorted(shapes.items())
        if name.startswith(_WEIGHTS) and name.endswith(_VALUE)
    }


def _shapes_of(model: keras.Model, *, is_version: bool) -> Shapes:
    """Returns the shapes of a network's variables, by the names that a released version, or a file
    of Keras, gives them.
    """
    if is_version:
        return {f"{_WEIGHTS}{at}": tuple(one.shape) for at, one in enumerate(model.weights)}
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/own{_SUFFIX}"
        model.save_weights(file)
        return _shapes(file)


def _load(model: keras.Model, path: str) -> None:
    if not Path(path).is_dir():
        model.load_weights(path)
        return
    import tensorflow as tf

    own = tf.train.Checkpoint(weights=[one.value for one in model.weights])
    read = own.read(str(Path(path, _VARIABLES)))
    read.assert_existing_objects_matched().expect_partial()
