"""Which version a run is compared with, and whether it takes an earlier release over."""

import json
from pathlib import Path

import pytest

from components.serving_dir import (
    Baseline,
    ReleaseContext,
    compared_now,
    digest_of,
    publish,
    release_context,
    released_data,
    rollback,
)
from tests.components.serving_dir.samples import damage, letter_model


def record(key: str, token: str, baseline: Baseline | None) -> dict[str, object]:
    return {
        "run_key": key,
        "release_token": token,
        "baseline": baseline.to_json() if baseline else None,
    }


def test_nothing_served_means_no_baseline(serving: Path) -> None:
    assert release_context(serving, "key", "fresh") == ReleaseContext(None, "fresh")


def test_baseline_is_the_newest_version_of_another_run(serving: Path, first_model: Path) -> None:
    publish(first_model, serving, record("another key", "old", None))
    assert release_context(serving, "key", "fresh") == ReleaseContext(
        Baseline(1, digest_of(first_model)), "fresh"
    )


def test_second_identical_run_has_the_first_ones_context(
    serving: Path, first_model: Path, second_model: Path
) -> None:
    publish(first_model, serving, record("key 1", "token 1", None))
    assert release_context(serving, "key 1", "fresh") == ReleaseContext(
        None, "token 1", released=digest_of(first_model)
    )

    baseline = Baseline(1, digest_of(first_model))
    publish(second_model, serving, record("key 2", "token 2", baseline))
    assert release_context(serving, "key 2", "fresh") == ReleaseContext(
        baseline, "token 2", released=digest_of(second_model)
    )


def test_a_run_that_signs_takes_no_unsigned_release_over(serving: Path, first_model: Path) -> None:
    publish(first_model, serving, record("key", "token", None))
    anew = ReleaseContext(Baseline(1, digest_of(first_model)), "fresh")
    assert release_context(serving, "key", "fresh", signs=True) == anew

    signed = record("key", "fresh", anew.baseline)
    publish(first_model, serving, signed, sign=lambda files: b"signature")
    for signs in (True, False):
        assert release_context(serving, "key", "fresher", signs=signs) == ReleaseContext(
            anew.baseline, "fresh", released=digest_of(first_model)
        )


def test_what_a_release_was_compared_with_holds_for_its_model_alone(
    serving: Path, first_model: Path, second_model: Path
) -> None:
    publish(first_model, serving, record("key 1", "token 1", None))
    context = release_context(serving, "key 1", "fresh")
    assert context.holds_for(digest_of(first_model))
    assert not context.holds_for(digest_of(second_model))
    assert release_context(serving, "key 2", "fresh").holds_for(digest_of(second_model))


def test_run_whose_version_was_superseded_is_compared_anew(
    serving: Path, first_model: Path, second_model: Path
) -> None:
    publish(first_model, serving, record("key 1", "token 1", None))
    publish(second_model, serving, record("key 2", "token 2", None))
    assert release_context(serving, "key 1", "fresh") == ReleaseContext(
        Baseline(2, digest_of(second_model)), "fresh"
    )


def test_run_whose_version_is_not_the_live_one_is_compared_anew(
    serving: Path, first_model: Path, second_model: Path, tmp_path: Path
) -> None:
    own = letter_model(tmp_path, "c")
    publish(first_model, serving, {})
    publish(second_model, serving, {})
    rollback(serving)  # 3, withdraws the second model
    publish(own, serving, record("key", "token", None))
    publish(second_model, serving, {})  # past the gate
    assert release_context(serving, "key", "fresh") == ReleaseContext(
        Baseline(4, digest_of(own)), "fresh"
    )


def test_a_damaged_live_version_is_said_and_an_older_good_one_is_the_baseline(
    serving: Path, first_model: Path, second_model: Path
) -> None:
    publish(first_model, serving, record("key", "token", None))
    publish(second_model, serving, record("another key", "token", None))
    (serving / "2" / "saved_model.pb").unlink()
    # Either version is a run's own; yet TensorFlow Serving looks at 2, which is damaged.
    for run_key in ("key", "another key"):
        assert release_context(serving, run_key, "fresh") == ReleaseContext(
            Baseline(1, digest_of(first_model)),
            "fresh",
            damage="version 2: file 'saved_model.pb' is missing",
        )


def test_a_live_version_that_nobody_here_published_is_damage(serving: Path) -> None:
    (serving / "7").mkdir(parents=True)
    assert release_context(serving, "key", "fresh") == ReleaseContext(
        None, "fresh", damage="version 7: has no manifest.json: not published by this tool"
    )


def test_damage_is_the_same_by_whichever_path_the_directory_is_named(
    serving: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = serving / "1" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.symlink_to(manifest)
    (tmp_path / "link").symlink_to(serving)
    monkeypatch.chdir(tmp_path)
    named = (serving, Path(serving.name), tmp_path / "link")
    assert len({compared_now(one).damage for one in named}) == 1


def test_run_whose_baseline_is_gone_or_damaged_is_compared_anew(
    serving: Path, first_model: Path, second_model: Path
) -> None:
    publish(first_model, serving, record("key", "token", Baseline(7, "d1")))
    first = Baseline(1, digest_of(first_model))
    assert release_context(serving, "key", "fresh") == ReleaseContext(first, "fresh")

    publish(second_model, serving, record("key 2", "token 2", first))
    damage(serving, 1)
    anew = ReleaseContext(Baseline(2, digest_of(second_model)), "fresh")
    assert release_context(serving, "key 2", "fresh") == anew


@pytest.mark.parametrize("release", [{}, {"release_token": "token"}, {"baseline": None}])
def test_a_release_record_of_half_a_context_is_not_taken_over(
    release: dict[str, object], serving: Path, first_model: Path
) -> None:
    publish(first_model, serving, {"run_key": "key", **release})
    assert release_context(serving, "key", "fresh").token == "fresh"


def test_the_baselines_data_is_what_its_release_record_says(
    serving: Path, first_model: Path, second_model: Path
) -> None:
    publish(first_model, serving, {"dataset": {"name": "one"}})
    publish(second_model, serving, {})
    first, second = Baseline(1, digest_of(first_model)), Baseline(2, digest_of(second_model))
    assert json.loads(released_data(serving, first)) == {"name": "one"}
    assert released_data(serving, second) == "null"
    assert released_data(serving, None) == ""
