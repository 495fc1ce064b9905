"""From words to a configuration: presets, files and flags, and what is refused."""

from pathlib import Path

import pytest

from pipeline.config import ConfigError, RunConfig
from tests.pipeline.cli.parsing import given
from tests.refusals import refusal_of


def _config(*words: str) -> RunConfig:
    return given(*words).configuration()


def test_without_options_it_is_the_quick_preset_on_the_sample() -> None:
    assert (_config().preset, _config().dataset) == ("quick", "mnist_sample")


def test_every_flag_reaches_its_field() -> None:
    config = _config(
        *("--preset", "fast", "--dataset", "idx:d", "--data-dir", "t", "--pipeline-root", "p"),
        *("--serving-dir", "s", "--seed", "7", "--replicas", "2", "--no-cache"),
        *("--allow-missing-baseline", "--deterministic"),
    )
    assert config.preset == "fast"
    assert (config.dataset, config.data_dir) == ("idx:d", "t")
    assert (config.pipeline_root, config.serving_dir) == ("p", "s")
    assert (config.seed, config.replicas, config.cache) == (7, 2, False)
    assert config.gate.allow_missing_baseline
    assert config.training.deterministic


def test_a_tilde_is_the_home_directory_wherever_a_path_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run.yaml").write_text("data_dir: ~/data\nserving: {model_server: ~/bin/s}\n")
    (tmp_path / "best.json").write_text('{"epochs": 3}')
    config = _config(
        *("--config", "~/run.yaml", "--hparams", "~/best.json", "--serving-dir", "~"),
        *("--set", "pipeline_root=~/root"),
    )
    home = str(tmp_path)
    assert (config.data_dir, config.serving.model_server) == (f"{home}/data", f"{home}/bin/s")
    assert (config.serving_dir, config.pipeline_root) == (home, f"{home}/root")
    assert config.training.epochs == 3


def test_set_takes_any_key_and_may_be_given_again() -> None:
    config = _config("--set", "gate.floor=0.995", "--set", "seed=4", "--set", "dataset=a=b")
    assert (config.gate.floor, config.seed, config.dataset) == (0.995, 4, "a=b")


def test_of_a_flag_and_a_set_of_one_key_the_later_wins() -> None:
    assert _config("--seed", "1", "--set", "seed=2").seed == 2
    assert _config("--set", "seed=2", "--seed", "1").seed == 1


def test_set_takes_the_preset_too() -> None:
    assert _config("--set", "preset=article").training.optimizer == "adadelta"


@pytest.mark.parametrize("form", [["--beam-arg", "--x=1"], ["--beam-arg=--x=1"]])
def test_a_beam_argument_may_begin_with_dashes(form: list[str]) -> None:
    assert _config(*form, "--beam-arg", "-y").beam_args == ("--x=1", "-y")


def test_the_file_goes_over_the_preset_and_flags_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("preset: article\nseed: 5\nreplicas: 2\ntraining: {epochs: 3}\n")
    config = _config("--config", str(file), "--replicas", "1")
    assert config.training.optimizer == "adadelta"  # the preset's, which the file names
    assert (config.training.epochs, config.seed) == (3, 5)  # the file's
    assert config.replicas == 1  # the flag's


def test_a_preset_flag_wins_over_the_files_and_keeps_its_other_keys(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("preset: article\ntraining.epochs: 3\n")
    config = _config("--preset", "fast", "--config", str(file))
    assert (config.preset, config.training.optimizer) == ("fast", "adam")
    assert config.training.epochs == 3


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("# nothing yet\n")
    assert _config("--config", str(tmp_path / "run.yaml")) == _config()


def test_a_section_whose_keys_are_all_commented_out_is_empty(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("training:\n#  epochs: 3\ngate:\n  floor: 0.9\n")
    config = _config("--config", str(tmp_path / "run.yaml"))
    assert config.training == _config().training
    assert config.gate.floor == 0.9


@pytest.mark.parametrize(
    ("word", "seed"), [("010", 10), ("1_000", 1000), ("'7'", 7), ("00", 0), ("+3", 3)]
)
def test_a_number_means_the_same_in_a_file_and_behind_set(
    word: str, seed: int, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(f"seed: {word}\n")
    in_file = _config("--config", str(tmp_path / "run.yaml"))
    assert in_file.seed == _config("--set", "seed=" + word.strip("'")).seed == seed


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_a_truth_may_begin_with_a_capital(word: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"tuning.enabled: {word}\n")
    assert _config("--config", str(tmp_path / "run.yaml")).tuning.enabled
    assert _config("--set", f"tuning.enabled={word}").tuning.enabled


def test_the_files_beam_arguments_give_way_to_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("beam_args: [--a, --b]\n")
    assert _config("--config", str(file)).beam_args == ("--a", "--b")
    assert _config("--config", str(file), "--beam-arg=--c").beam_args == ("--c",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sed: 3", "FILE: unknown key 'sed': did you mean 'seed'?"),
        ("preset: fsat", "FILE: unknown preset 'fsat': did you mean 'fast'?"),
        ("seed: many", "FILE: seed is 'many', expected a whole number"),
        ("seed: 0x1f", "FILE: seed is '0x1f', expected a whole number"),
        (
            "gate.floor: 0.9\ngate: {floor: 0.95}",
            "FILE: gate.floor is given twice, expected once; remove one of them",
        ),
        ("gate: 3", "FILE: gate is '3', expected keys below it, such as gate.floor"),
        (
            "training.extra: 64",
            "FILE: unknown key 'training.extra': see which keys the plugin or your own network",
        ),
        (
            "training.extra.units: 64",
            "FILE: unknown key 'training.extra.units': see which keys the plugin or your own netwo",
        ),
        ("<<: {seed: 1}", "FILE: unknown key '<<.seed': did you mean 'seed'?"),
        ("[1, 2]", "FILE holds a list, expected keys with values, such as 'seed: 3'"),
        ("seed", "FILE holds a str, expected keys with values, such as 'seed: 3'"),
    ],
)
def test_a_bad_file_is_refused_by_name(text: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    refusal = refusal_of(ConfigError, _config, "--config", str(file))
    assert refusal.startswith(line.replace("FILE", str(file)))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*/no.yaml: No such"):
        _config("--config", str(tmp_path / "no.yaml"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not YAML: line 1: 'utf-8' codec"):
        _config("--config", str(tmp_path / "run.yaml"))
