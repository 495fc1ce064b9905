"""The release policy: what may ship, and what the refusal says."""

import dataclasses
import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gate import statistics
from components.gate.check import Check, passed
from components.gate.decide import decide
from components.gate.evidence import Evidence, Provenance, Tally
from components.gate.integrity import damage_check
from components.gate.policy import Policy, promised_cross_entropy
from components.gate.slices import Bands
from components.gate.submissions import allowed_errors

POLICY = Policy(floor=0.95, class_floor=0.9, max_cross_entropy=0.3, max_drop=0.01)
ANYTHING = Policy(floor=0.0, class_floor=0.0, max_cross_entropy=100.0, max_drop=1.0)
FIRST = 1.0 - 0.05 / 11  # confidence of the first decision on a test set, see `release_alpha`
BANDS = Bands("mean_intensity", (0.1,))


def total(tallies) -> Tally:
    rows = [dataclasses.astuple(tally) for tally in tallies]
    return Tally(*(sum(column) for column in zip(*rows, strict=True)))


def evidence(*, compared: bool = False, **classes: Tally | int) -> Evidence:
    """Of classes with these counts, or with so many right answers among 1,000 examples."""
    tallies = {
        name: tally if isinstance(tally, Tally) else Tally(rows=1000, correct=tally)
        for name, tally in classes.items()
    }
    return Evidence(
        overall=total(tallies.values()),
        classes=tallies,
        slices={},
        cross_entropy=0.1,
        top_2_accuracy=1.0,
        compared=compared,
    )


def provenance(rows: int, **changes: str) -> Provenance:
    sound = Provenance(
        split_rows=rows,
        split_digest="d" * 64,
        recorded_digest="d" * 64,
        evaluated_model="model",
        exported_model="model",
    )
    return dataclasses.replace(sound, **changes)


def checks_of(given: Evidence, policy: Policy = POLICY, **arguments) -> tuple[Check, ...]:
    arguments.setdefault("provenance", provenance(given.overall.rows))
    return decide(given, policy, **arguments)


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def find(checks: tuple[Check, ...], name: str) -> Check:
    (check,) = (check for check in checks if check.name == name)
    return check


GOOD = evidence(cat=970, dog=980)
SEVERAL = Tally(rows=1000, correct=970, lost=4, gained=5)
COMPARED = evidence(compared=True, cat=SEVERAL, dog=SEVERAL)


# --- all together --------------------------------------------------------------------------------


def test_a_good_first_model_passes_every_check() -> None:
    checks = checks_of(GOOD)
    assert [check.name for check in checks] == [
        *("integrity.rows", "integrity.digest", "integrity.model", "integrity.withdrawn"),
        *("integrity.classes", "integrity.finite", "test_budget", "floor", "cross_entropy"),
        *("baseline", "class.cat", "class.dog"),
    ]
    assert passed(checks)


def test_with_a_served_model_the_comparison_takes_the_place_of_first_release() -> None:
    names = [check.name for check in checks_of(COMPARED)]
    assert names[7:] == [
        *("floor", "cross_entropy", "not_worse", "max_drop", "class.cat", "class.dog"),
        *("class_change.cat", "class_change.dog"),
    ]
    assert passed(checks_of(COMPARED))


def test_no_checks_at_all_prove_nothing() -> None:
    assert not passed(())


# --- 1: integrity --------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1999, 2001])
def test_other_rows_than_recorded_are_refused(rows: int) -> None:
    checks = checks_of(GOOD, provenance=provenance(rows))
    assert failed(checks) == ["integrity.rows"]
    sentence = find(checks, "integrity.rows").sentence
    assert sentence == (
        f"2,000 test images evaluated, expected the {rows:,} recorded: run again with --no-cache"
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"split_digest": "e" * 64}, "integrity.digest"),
        ({"evaluated_model": "another"}, "integrity.model"),
        ({"withdrawn": "version 3 on 2026-11-24: confuses 4 and 9"}, "integrity.withdrawn"),
    ],
)
def test_other_examples_or_another_model_are_refused(change: dict[str, str], name: str) -> None:
    checks = checks_of(GOOD, provenance=provenance(2000, **change))
    assert failed(checks) == [name]
    (value,) = change.values()
    assert value[:12] in find(checks, name).sentence


def test_a_class_without_examples_is_refused() -> None:
    checks = checks_of(evidence(cat=990, dog=980, eel=Tally(rows=0, correct=0)))
    assert failed(checks) == ["integrity.classes"]
    assert "no example of eel" in find(checks, "integrity.classes").sentence


def test_no_class_at_all_is_refused() -> None:
    nothing = dataclasses.replace(GOOD, classes={})
    assert "integrity.classes" in failed(checks_of(nothing))


def test_a_prediction_that_is_no_number_is_refused() -> None:
    checks = checks_of(dataclasses.replace(GOOD, not_finite=1), ANYTHING)
    assert failed(checks) == ["integrity.finite"]
    assert "1 of 2,000 predictions hold NaN" in find(checks, "integrity.finite").sentence


# --- 2: the floor, and 7: the budget of the test set ---------------------------------------------


def test_the_floor_is_held_by_the_bound_and_not_by_the_accuracy() -> None:
    # 1,910 of 2,000 is 0.9550; so good at least with 1 - 0.05 / 11 confidence: 0.9415.
    checks = checks_of(evidence(cat=955, dog=955))
    assert failed(checks) == ["floor"]
    floor = find(checks, "floor")
    assert floor.actual == statistics.clopper_pearson_lower(1910, 2000, FIRST)
    assert floor.required == 0.95
    assert floor.sentence == (
        "accuracy 0.9550; its 99.55 % lower bound 0.9415 misses the floor 0.9500: train longer, "
        "look at the data, or set gate.floor"
    )


def test_a_bound_that_reaches_the_floor_says_so() -> None:
    assert find(checks_of(GOOD), "floor").sentence == (
        "accuracy 0.9750; its 99.55 % lower bound 0.9644 reaches the floor 0.9500"
    )


@pytest.mark.parametrize(("errors", "holds"), [(74, True), (75, False)])
def test_99_percent_of_ten_thousand_allow_74_errors_at_the_first_decision(
    errors: int, holds: bool
) -> None:
    mnist = dataclasses.replace(POLICY, floor=0.99)
    counted = evidence(all=Tally(rows=10_000, correct=10_000 - errors))
    assert ("floor" not in failed(checks_of(counted, mnist))) is holds


def test_a_bound_on_the_floor_holds_and_a_float_below_it_does_not() -> None:
    bound = statistics.clopper_pearson_lower(1950, 2000, FIRST)
    for floor, expected in ((bound, []), (math.nextafter(bound, 1.0), ["floor"])):
        policy = dataclasses.replace(POLICY, floor=floor)
        assert failed(checks_of(GOOD, policy)) == expected


@pytest.mark.parametrize("budget", [1, 10, 25])
def test_all_decisions_together_spend_alpha_and_those_of_the_budget_half_of_it(budget) -> None:
    policy = dataclasses.replace(POLICY, test_budget=budget)
    spent = list(itertools.accumulate(map(policy.release_alpha, range(1, 100_001))))
    assert spent[budget - 1] == pytest.approx(0.05 / 2)
    assert spent[-1] == pytest.approx(0.05 * 100_000 / (100_000 + budget))  # for ever: 0.05


def test_no_decision_allows_more_than_one_error_less_than_the_one_before() -> None:
    mnist = dataclasses.replace(POLICY, floor=0.99)
    allowed = [allowed_errors(mnist, 10_000, decision) for decision in range(1, 101)]
    assert (allowed[0], allowed[9], allowed[-1]) == (74, 70, 62)
    assert {before - after for before, after in itertools.pairwise(allowed)} == {0, 1}


def test_every_check_whose_error_is_a_release_spends_and_no_other_does() -> None:
    first, later = (
        {
            check.name: check
            for must_improve in (False, True)
            for check in checks_of(
                COMPARED, dataclasses.replace(POLICY, must_improve=must_improve), decision=decision
            )
        }
        for decision in (1, 40)
    )
    changed = {name for name in first if first[name] != later[name]}
    assert changed == {"test_budget", "floor", "improved", "max_drop"}
    level = POLICY.release_alpha(40)
    assert later["improved"].required == level
    assert later["max_drop"].actual == statistics.drop_upper(
        *(COMPARED.overall.lost, COMPARED.overall.gained, COMPARED.overall.rows),
        1.0 - level,
        max_drop=POLICY.max_drop,
    )


def test_each_decision_says_how_often_it_may_err() -> None:
    assert find(checks_of(GOOD, decision=10), "test_budget").sentence == (
        "decision 10 on this test set: it releases a bad model with a probability of at most 0.13 "
        "%, all decisions together with at most 5 %"
    )


def test_beyond_its_budget_a_test_set_should_be_replaced() -> None:
    check = find(checks_of(GOOD, decision=11), "test_budget")
    assert check.passed
    assert check.sentence.endswith("; 10 were planned for: collect new test images")


def test_a_model_that_held_the_floor_fails_it_when_the_test_set_is_worn_out() -> None:
    policy = dataclasses.replace(POLICY, floor=0.964)
    assert passed(checks_of(GOOD, policy, decision=1))
    assert failed(checks_of(GOOD, policy, decision=10)) == ["floor"]


# --- cross-entropy -------------------------------------------------------------------------------


def test_probabilities_worse_than_promised_are_refused_although_the_answers_are_right() -> None:
    checks = checks_of(dataclasses.replace(GOOD, cross_entropy=0.31))
    assert failed(checks) == ["cross_entropy"]
    sentence = find(checks, "cross_entropy").sentence
    assert "cross-entropy 0.3100; at most 0.3000 is allowed: " in sentence
    assert "gate.max_cross_entropy" in sentence


def test_nan_cross_entropy_is_refused() -> None:
    broken = dataclasses.replace(GOOD, cross_entropy=math.nan)
    assert failed(checks_of(broken, ANYTHING)) == ["cross_entropy"]


@pytest.mark.parametrize(
    ("floor", "num_classes", "expected"),
    [
        # 0.99 x -ln 0.99 + 0.01 x -ln(0.01 / 9) = 0.00995 + 0.06802
        (0.99, 10, 0.07797),
        # A fair coin: ln 2.
        (0.5, 2, math.log(2)),
        # Below chance is chance: ln 4.
        (0.0, 4, math.log(4)),
        (1.0, 10, 0.0),
    ],
)
def test_cross_entropy_that_a_floor_promises(floor, num_classes, expected) -> None:
    assert promised_cross_entropy(floor, num_classes) == pytest.approx(expected, abs=1e-5)


# --- 3: not worse than what is served ------------------------------------------------------------


def compared_with(lost: int, gained: int) -> Evidence:
    """Of 10,000 examples, half of each class."""
    cat, dog = (
        Tally(rows=5000, correct=4975 - lost, lost=lost, gained=gained)
        for lost, gained in ((lost // 2, gained // 2), (lost - lost // 2, gained - gained // 2))
    )
    return evidence(compared=True, cat=cat, dog=dog)


def test_a_loss_that_is_no_chance_is_refused() -> None:
    # 26 to 14: p = 0.0403; the loss is 0.0012, and below 0.0023.
    checks = checks_of(compared_with(26, 14))
    assert failed(checks) == ["not_worse"]
    not_worse = find(checks, "not_worse")
    assert not_worse.actual == pytest.approx(0.0403, abs=5e-5)
    assert not_worse.sentence == (
        "14 gained and 26 lost of 10,000 test images against the served model: shown to be "
        "worse (p = 0.04, required above 0.05): the served model stays"
    )


def test_a_loss_that_may_be_chance_passes() -> None:
    checks = checks_of(compared_with(25, 15))  # p = 0.077
    assert passed(checks)
    assert "not shown to be worse (p = 0.077)" in find(checks, "not_worse").sentence


def test_a_loss_that_cannot_be_excluded_is_refused_although_none_is_shown() -> None:
    # 20 to 15: the loss is 0.0005, and may be as large as 0.0022.
    policy = dataclasses.replace(POLICY, max_drop=0.001)
    checks = checks_of(compared_with(20, 15), policy)
    assert failed(checks) == ["max_drop"]
    assert find(checks, "max_drop").sentence == (
        "accuracy changes by -0.0005; with 99.55 % confidence it drops by at most 0.0022; a drop "
        "of at most 0.0010 is allowed: the served model stays; evaluate on more test images, or "
        "set gate.max_drop"
    )


def test_a_gain_that_is_sure_says_how_large_it_is_at_least() -> None:
    sentence = find(checks_of(compared_with(10, 60)), "max_drop").sentence
    assert sentence.startswith(
        "accuracy changes by +0.0050; with 99.55 % confidence it rises by at least 0.0030; a drop"
    )


@pytest.mark.parametrize(("gained", "expected"), [(28, ["improved"]), (35, [])])
def test_a_model_that_must_improve_must_be_shown_to(gained: int, expected: list[str]) -> None:
    # 15 lost: 28 gained have p = 0.033, 35 gained have p = 0.0033; the first decision has 0.0045.
    policy = dataclasses.replace(POLICY, must_improve=True)
    checks = checks_of(compared_with(15, gained), policy)
    assert failed(checks) == expected
    assert "not_worse" not in [check.name for check in checks]
    if expected:
        assert "gate.must_improve is set" in find(checks, "improved").sentence


def test_equal_models_are_not_an_improvement() -> None:
    policy = dataclasses.replace(POLICY, must_improve=True)
    assert failed(checks_of(compared_with(0, 0), policy)) == ["improved"]
    assert passed(checks_of(compared_with(0, 0)))


# --- 4: classes ----------------------------------------------------------------------------------


def test_one_bad_class_is_refused_although_all_together_is_good() -> None:
    # 130 errors where 100 of 1,000 are allowed: p = 0.0013, times 4.
    checks = checks_of(evidence(ant=995, bee=995, cat=870, dog=995))
    assert failed(checks) == ["class.cat"]
    sentence = find(checks, "class.cat").sentence
    assert sentence.startswith(
        "class cat: accuracy 0.8700, shown to be below the class floor 0.9000 (p = 0.005"
    )
    assert "gate.class_floor" in sentence


def test_a_class_just_below_its_floor_may_be_there_by_chance() -> None:
    assert passed(checks_of(evidence(ant=995, bee=995, cat=890, dog=995)))


def test_the_more_classes_the_more_it_takes_to_refuse_one() -> None:
    # 118 errors of 1,000: p = 0.034, alone too many, among four no surprise.
    assert failed(checks_of(evidence(cat=882), ANYTHING_BUT_CLASSES)) == ["class.cat"]
    four = evidence(ant=995, bee=995, cat=882, dog=995)
    assert passed(checks_of(four, ANYTHING_BUT_CLASSES))


ANYTHING_BUT_CLASSES = dataclasses.replace(ANYTHING, class_floor=0.9)


def test_a_model_that_trades_one_class_for_another_is_refused() -> None:
    traded = evidence(
        compared=True,
        cat=Tally(rows=1000, correct=975, lost=20, gained=3),
        dog=Tally(rows=1000, correct=990, lost=3, gained=20),
    )
    checks = checks_of(traded)
    assert failed(checks) == ["class_change.cat"]
    assert find(checks, "class_change.cat").actual == pytest.approx(-0.017)
    assert find(checks, "class_change.cat").sentence == (
        "class cat: 3 gained and 20 lost of 1,000 test images against the served model, shown to "
        "be worse (p = 0.00049, required above 0.05): the served model stays"
    )


# --- 5: slices -----------------------------------------------------------------------------------


def with_slices(given: Evidence, dark: Tally, light: Tally) -> Evidence:
    names = BANDS.names
    return dataclasses.replace(given, slices=dict(zip(names, (dark, light), strict=True)))


def test_a_bad_slice_is_refused_although_every_class_is_good() -> None:
    sliced = with_slices(GOOD, Tally(rows=400, correct=330), Tally(rows=1600, correct=1590))
    checks = checks_of(sliced)
    assert failed(checks) == ["slice.mean_intensity<0.1"]
    assert "look at the slice's examples" in find(checks, "slice.mean_intensity<0.1").sentence


def test_a_slice_that_was_traded_away_is_refused() -> None:
    tally = Tally(rows=1000, correct=970, lost=13, gained=13)
    sliced = with_slices(
        evidence(compared=True, cat=tally, dog=tally),
        Tally(rows=800, correct=760, lost=21, gained=5),
        Tally(rows=1200, correct=1180, lost=5, gained=21),
    )
    assert failed(checks_of(sliced)) == ["slice_change.mean_intensity<0.1"]


@pytest.mark.parametrize(("rows", "judged"), [(99, False), (100, True)])
def test_a_small_slice_is_not_judged(rows: int, judged: bool) -> None:
    sliced = with_slices(GOOD, Tally(rows=rows, correct=0), Tally(rows=2000 - rows, correct=1900))
    checks = checks_of(sliced)
    assert failed(checks) == (["slice.mean_intensity<0.1"] if judged else [])
    if not judged:
        dark = find(checks, "slice.mean_intensity<0.1")
        assert dark.sentence == (
            "mean_intensity<0.1 has 99 test images, not judged below 100 (gate.min_slice_rows)"
        )


def test_an_empty_slice_is_no_error() -> None:
    sliced = with_slices(GOOD, Tally(rows=0, correct=0), Tally(rows=2000, correct=1950))
    assert passed(checks_of(sliced))


# --- 6: no rubber stamp --------------------------------------------------------------------------


def test_a_first_release_says_that_it_is_one() -> None:
    sentence = "first release, no baseline: nothing is served to compare with"
    assert find(checks_of(GOOD), "baseline") == Check("baseline", True, None, None, sentence)


def test_a_served_model_that_cannot_be_read_refuses_the_release() -> None:
    checks = checks_of(GOOD, damage="version 3: has no manifest.json")
    assert failed(checks) == ["baseline"]
    assert find(checks, "baseline").sentence == (
        "the served model cannot be read: version 3: has no manifest.json; repair it, roll back to "
        "a good version, or override with --allow-missing-baseline"
    )


def test_the_override_is_recorded_and_what_can_be_compared_still_is() -> None:
    policy = dataclasses.replace(POLICY, allow_missing_baseline=True)
    checks = checks_of(compared_with(26, 14), policy, damage="version 3 has no manifest.json")
    assert failed(checks) == ["not_worse"]
    baseline = find(checks, "baseline")
    assert baseline == damage_check("version 3 has no manifest.json", policy)
    assert baseline.sentence.endswith("overridden by gate.allow_missing_baseline")


# --- the values themselves -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("max_cross_entropy", math.inf, "a number, 0 or more"),
        ("floor", 99.0, "a number from 0 to 1: 0.99 stands for 99 %"),
        ("class_floor", -0.01, "a number from 0 to 1: 0.99 stands for 99 %"),
        ("max_drop", math.nan, "a number from 0 to 1: 0.99 stands for 99 %"),
        ("confidence", 95.0, "a number above 0.5 and below 1: 0.95 stands for 95 %"),
        ("min_slice_rows", 0, "a whole number, 1 or more"),
    ],
)
def test_a_value_out_of_range_is_an_error(field: str, value: float, expected: str) -> None:
    with pytest.raises(ValueError, match="gate") as caught:
        dataclasses.replace(POLICY, **{field: value})
    assert str(caught.value) == f"gate.{field} is {value}, expected {expected}"


def test_one_feature_is_cut_once() -> None:
    with pytest.raises(ValueError, match=r"gate\.slices names a feature twice"):
        dataclasses.replace(POLICY, slices=(BANDS, Bands("mean_intensity", (0.2,))))


@pytest.mark.parametrize(
    "counts",
    [
        {"rows": 1, "correct": 2},
        {"rows": 10, "correct": 9, "lost": 2},
        {"rows": 10, "correct": 3, "gained": 4},
        {"rows": 10, "correct": -1},
    ],
)
def test_impossible_counts_are_an_error(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="is impossible"):
        Tally(**counts)


def test_values_survive_their_json_form() -> None:
    policy = dataclasses.replace(POLICY, slices=(BANDS,), must_improve=True)
    assert Policy.from_config(json.loads(json.dumps(policy.to_config()))) == policy
    sliced = with_slices(COMPARED, SEVERAL, SEVERAL)
    confused = dataclasses.replace(sliced, confusion=((970, 30), (30, 970)))
    for counted in (sliced, confused):
        assert Evidence.from_dict(json.loads(json.dumps(counted.to_dict()))) == counted
    for check in checks_of(sliced):
        assert Check.from_dict(json.loads(json.dumps(check.to_dict()))) == check


# --- properties ----------------------------------------------------------------------------------

fractions = st.floats(0.0, 1.0)
policies = st.builds(
    Policy,
    floor=fractions,
    class_floor=fractions,
    max_cross_entropy=st.floats(0.0, 3.0),
    max_drop=st.sampled_from([0.0, 1e-9, 0.01, 0.1, 0.5]),
    must_improve=st.booleans(),
    confidence=st.floats(0.6, 0.999),
    test_budget=st.integers(1, 5),
    min_slice_rows=st.integers(1, 20),
    slices=st.just((BANDS,)),
)


@st.composite
def models(draw: st.DrawFn) -> list[tuple[str, str, bool, bool]]:
    """(class, slice, candidate right, served model right) for each example."""
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from(["cat", "dog", "eel"]),
                st.sampled_from(BANDS.names),
                st.booleans(),
                st.booleans(),
            ),
            min_size=1,
            max_size=60,
        )
    )


def counted(examples: list[tuple[str, str, bool, bool]], *, compared: bool) -> Evidence:
    """Of a model that gives its answer the probability 0.9, and 0.1 to the right one if it errs."""

    def tally(column: int | None = None, value: str = "") -> Tally:
        group = [e for e in examples if column is None or e[column] == value]
        return Tally(
            rows=len(group),
            correct=sum(right for *_, right, _ in group),
            lost=sum(compared and before and not right for *_, right, before in group),
            gained=sum(compared and right and not before for *_, right, before in group),
        )

    overall = tally()
    return Evidence(
        overall=overall,
        classes={name: tally(0, name) for name in ("cat", "dog", "eel")},
        slices={name: tally(1, name) for name in BANDS.names},
        cross_entropy=-(overall.correct * math.log(0.9) + overall.errors * math.log(0.1))
        / overall.rows,
        top_2_accuracy=1.0,
        compared=compared,
    )


@settings(deadline=None)  # nothing here depends on how fast the machine is
@given(
    examples=models(),
    policy=policies,
    compared=st.booleans(),
    decision=st.integers(1, 8),
    data=st.data(),
)
def test_one_more_error_never_turns_a_refusal_into_a_release(
    examples, policy: Policy, compared: bool, decision: int, data: st.DataObject
) -> None:
    right = [index for index, example in enumerate(examples) if example[2]]
    if not right:
        return
    index = data.draw(st.sampled_from(right))
    worse = [*examples]
    worse[index] = (*examples[index][:2], False, examples[index][3])
    before, after = (
        failed(checks_of(counted(some, compared=compared), policy, decision=decision))
        for some in (examples, worse)
    )
    assert set(before) <= set(after)


@settings(deadline=None)
@given(examples=models(), policy=policies, compared=st.booleans(), decision=st.integers(1, 8))
def test_one_more_decision_never_turns_a_refusal_into_a_release(
    examples, policy: Policy, compared: bool, decision: int
) -> None:
    given = counted(examples, compared=compared)
    before, after = (
        failed(checks_of(given, policy, decision=number)) for number in (decision, decision + 1)
    )
    assert set(before) <= set(after)


@settings(deadline=None)
@given(examples=models(), policy=policies, compared=st.booleans())
def test_every_refusal_names_its_actual_and_its_required_value(
    examples, policy: Policy, compared: bool
) -> None:
    for check in checks_of(counted(examples, compared=compared), policy):
        if check.passed or check.name.startswith("integrity."):
            continue
        kind = check.name.partition(".")[0]
        if kind in ("not_worse", "improved"):
            assert f"p = {check.actual:.2g}" in check.sentence
        elif kind not in ("class_change", "slice_change"):
            assert f"{abs(check.actual):.4f}" in check.sentence
            assert f"{check.required:.4f}" in check.sentence
