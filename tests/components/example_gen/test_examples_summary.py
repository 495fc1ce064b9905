import pytest
from tfx.types import standard_artifacts

from components.example_gen import examples_summary
from components.example_gen.examples_summary import ExamplesSummary, Overlap, SplitSummary

SUMMARY = ExamplesSummary(
    name="mnist",
    fingerprint="0" * 64,
    image_shape=(28, 28, 1),
    class_names=("0", "1"),
    splits={"train": SplitSummary(3, (1, 2), "1" * 64, 0.125)},
    overlap=Overlap(1, ("2" * 64,)),
)


def test_json_gives_the_same_value_back() -> None:
    assert ExamplesSummary.from_json(SUMMARY.to_json()) == SUMMARY


def test_an_artifact_gives_the_recorded_value_back() -> None:
    artifact = standard_artifacts.Examples()
    examples_summary.write(artifact, SUMMARY)
    assert examples_summary.read(artifact) == SUMMARY


def test_an_artifact_of_another_component_is_refused() -> None:
    with pytest.raises(ValueError, match="no custom property 'dataset', expected those of Image"):
        examples_summary.read(standard_artifacts.Examples())
