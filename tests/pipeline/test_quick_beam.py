"""Beam is spared work, and its answers stay what they were."""

import copy
import gc
import weakref
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    TypeOptions,
)
from apache_beam.transforms import core, userstate
from apache_beam.transforms.userstate import CombiningValueStateSpec

from pipeline.quick_beam import remember_answers, remembering_arguments, remembering_views


class Counting:
    """Calls a function, and counts the calls."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


class Plain(beam.DoFn):
    def process(self, element, scale=2):
        yield element * scale


class Stateful(beam.DoFn):
    COUNT = CombiningValueStateSpec("count", VarIntCoder(), sum)

    def process(self, element, count=beam.DoFn.StateParam(COUNT)):  # noqa: B008
        count.add(1)
        yield count.read()


def test_a_method_is_inspected_once_for_all_objects_of_its_class() -> None:
    counting = Counting(core.get_function_args_defaults)
    inspect = remembering_arguments(counting)
    assert [inspect(Plain().process) for _ in range(3)] == [(["element", "scale"], [2])] * 3
    assert inspect(Plain().setup) == inspect(Stateful().setup) == ([], [])  # inherited
    assert counting.calls == 2


def test_who_changes_an_answer_changes_no_other() -> None:
    inspect = remembering_arguments(core.get_function_args_defaults)
    names, defaults = inspect(Plain().process)
    names.clear()
    defaults.append(3)
    assert inspect(Plain().process) == (["element", "scale"], [2])


def test_functions_keep_their_own_arguments() -> None:
    inspect = remembering_arguments(core.get_function_args_defaults)
    functions = [lambda element, by=by: element * by for by in (2, 3)]
    assert [inspect(each) for each in functions] == [(["element", "by"], [by]) for by in (2, 3)]


def test_state_is_found_as_before() -> None:
    remember_answers()
    assert userstate.get_dofn_specs(Stateful()) == ({Stateful.COUNT}, set())
    assert userstate.get_dofn_specs(Plain()) == (set(), set())


def test_a_view_is_made_once_and_shares_its_values() -> None:
    counting = Counting(PipelineOptions.view_as)
    view_as = remembering_views(counting)
    options = PipelineOptions(["--direct_num_workers=3", "--runner=FnApiRunner"])
    assert view_as(options, DirectOptions).direct_num_workers == 3
    assert view_as(options, StandardOptions).runner == "FnApiRunner"
    view_as(options, DirectOptions).direct_num_workers = 4
    assert view_as(options, DirectOptions).direct_num_workers == 4
    assert options.get_all_options()["direct_num_workers"] == 4
    assert counting.calls == 2


def test_other_options_have_views_of_their_own_also_copies() -> None:
    view_as = remembering_views(PipelineOptions.view_as)
    options = PipelineOptions(["--direct_num_workers=3"])
    copied = copy.deepcopy(options)
    view_as(options, DirectOptions).direct_num_workers = 4
    assert view_as(copied, DirectOptions).direct_num_workers == 3
    assert view_as(PipelineOptions([]), DirectOptions).direct_num_workers == 1


def test_options_whose_values_were_replaced_are_viewed_anew() -> None:
    view_as = remembering_views(PipelineOptions.view_as)
    options = PipelineOptions([])
    assert view_as(options, TypeOptions).pipeline_type_check
    options._all_options = {"pipeline_type_check": False}
    assert not view_as(options, TypeOptions).pipeline_type_check


def test_nothing_is_kept_for_options_that_are_gone() -> None:
    view_as = remembering_views(PipelineOptions.view_as)
    options = PipelineOptions([])
    view_as(options, DirectOptions)
    kept = weakref.ref(options)
    del options
    gc.collect()
    assert kept() is None
