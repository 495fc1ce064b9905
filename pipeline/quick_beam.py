"""Spares Beam what it does again and again while it builds a pipeline.

    remember_answers()  # for all pipelines of this process

Beam 2.74 to 2.77 look several times at the arguments of every method of each DoFn, although nearly
all of them inherit these methods, and build a parser of the command line for each look at an
option. That takes 40 % of the processor time of a small pipeline (docs/decisions/0038).
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core

Inspect = Callable[[Any], tuple[list[str], list[Any]]]
ViewAs = Callable[[Any, type], Any]


@functools.cache
def remember_answers() -> None:
    """Lets Beam remember both for the rest of this process; its answers stay what they are."""
    core.get_function_args_defaults = remembering_arguments(core.get_function_args_defaults)
    PipelineOptions.view_as = remembering_views(PipelineOptions.view_as)


def remembering_arguments(inspect: Inspect) -> Inspect:
    """Returns Beam's `inspect`, which gives the names of a function's arguments and their defaults,
    but each method is inspected for one object alone.
    """
    known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def inspected(function: Any) -> tuple[list[str], list[Any]]:
        if type(function) is not types.MethodType:
            return inspect(function)
        method = function.__func__
        if method not in known:
            known[method] = inspect(function)
        names, defaults = known[method]
        return list(names), list(defaults)

    return inspected


def remembering_views(view_as: ViewAs) -> ViewAs:
    """Returns Beam's `view_as`, but the same object gives the same view of a class: all views of
    one object share their values in any case.
    """
    known: weakref.WeakKeyDictionary[Any, dict[type, Any]] = weakref.WeakKeyDictionary()

    def viewed(options: Any, as_class: type) -> Any:
        views = known.setdefault(options, {})
        if as_class not in views or views[as_class]._all_options is not options._all_options:
            views[as_class] = view_as(options, as_class)
        return views[as_class]

    return viewed
