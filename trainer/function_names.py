"""Numbers the functions of a SavedModel by their order: the same model is the same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tensorflow.core.framework.function_pb2 import FunctionDef, FunctionDefLibrary
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.core.protobuf.saved_object_graph_pb2 import SavedObjectGraph

_GRADIENT = "_gradient_op_type"
_COUNTS = re.compile(r"([_-]\d+)+$")
_IN_A_PLACEHOLDER = re.compile(r"_\d+(?=___redundant_placeholder\d+$)")


def number_by_order(export_dir: str) -> None:
    """Replaces what TensorFlow took from a counter in the SavedModel at `export_dir`.

    TensorFlow numbers functions, gradients and tensors by one counter of the process, which depends
    on threads and on what was done before, here and where Transform ran, whose graph the model
    contains. The same weights would be another model: not the one that was withdrawn, for example.
    Computation and signatures stay as they are. `fingerprint.pb`, which nothing reads that serves
    and into which TensorFlow 2.21 writes a random number, is removed.
    """
    path = Path(export_dir, "saved_model.pb")
    model = SavedModel.FromString(path.read_bytes())
    for graph in model.meta_graphs:
        library = graph.graph_def.library
        names = _number(graph)
        _rename_in_nodes(graph.graph_def.node, names)
        _rename_in_library(library, names)
        _rename_in_objects(graph.object_graph_def, names)
        for function in library.function:
            _forget_counts(function)
        library.function.sort(key=lambda function: function.signature.name)
        library.registered_gradients.sort(key=lambda gradient: gradient.registered_op_type)
    path.write_bytes(model.SerializeToString(deterministic=True))
    path.with_name("fingerprint.pb").unlink(missing_ok=True)


def _number(graph: MetaGraphDef) -> dict[str, str]:
    """Returns the new names of functions and of gradients, numbered as they are met from the roots:
    the signatures first, then what else is saved.
    """
    library = graph.graph_def.library
    calls: dict[str, Iterable[str]] = {
        function.signature.name: _called(function.node_def) for function in library.function
    }
    calls |= {of.registered_op_type: [of.gradient_func] for of in library.registered_gradients}
    found: dict[str, None] = {}

    def visit(names: Iterable[str]) -> None:
        for name in names:
            if name in calls and name not in found:
                found[name] = None
                visit(calls[name])

    visit(_called(graph.graph_def.node))
    for saved in graph.object_graph_def.nodes:
        visit(saved.function.concrete_functions)
        visit([saved.bare_concrete_function.concrete_function_name])
        visit([saved.captured_tensor.concrete_function])
    visit(sorted(calls))
    return {name: _COUNTS.sub(f"_{order}", name) for order, name in enumerate(found)}


def _called(nodes: Iterable[NodeDef]) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for key in sorted(node.attr):
            value = node.attr[key]
            yield value.func.name
            yield from (called.name for called in value.list.func)
            if key == _GRADIENT:
                yield value.s.decode()


def _rename_in_library(library: FunctionDefLibrary, names: Mapping[str, str]) -> None:
    for function in library.function:
        function.signature.name = names[function.signature.name]
        _rename_in_nodes(function.node_def, names)
    for gradient in library.registered_gradients:
        gradient.gradient_func = names[gradient.gradient_func]
        gradient.registered_op_type = names[gradient.registered_op_type]


def _rename_in_nodes(nodes: Iterable[NodeDef], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.op = names.get(node.op, node.op)
        for key, value in node.attr.items():
            for called in (value.func, *value.list.func):
                if called.name in names:
                    called.name = names[called.name]
            if key == _GRADIENT and (gradient := value.s.decode()) in names:
                value.s = names[gradient].encode()


def _rename_in_objects(objects: SavedObjectGraph, names: Mapping[str, str]) -> None:
    for name in list(objects.concrete_functions):
        objects.concrete_functions[names[name]].CopyFrom(objects.concrete_functions.pop(name))
    for node in objects.nodes:
        kind = node.WhichOneof("kind")
        if kind == "function":
            of = node.function.concrete_functions
            of[:] = [names[name] for name in of]
        elif kind == "bare_concrete_function":
            bare = node.bare_concrete_function
            bare.concrete_function_name = names[bare.concrete_function_name]
        elif kind == "captured_tensor":
            captured = node.captured_tensor
            captured.concrete_function = names[captured.concrete_function]


def _forget_counts(function: FunctionDef) -> None:
    """Removes the numbers of tensors that the function captures, and of functions in its inputs."""
    for argument in function.signature.input_arg:
        argument.name = _IN_A_PLACEHOLDER.sub("", argument.name)
    for attributes in function.arg_attr.values():
        if attributes.attr["_user_specified_name"].s.isdigit():
            del attributes.attr["_user_specified_name"]
