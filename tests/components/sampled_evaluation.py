"""TFX's Evaluator with nothing but our own metric."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.types import artifact_utils, standard_artifacts

from components.evaluation import eval_config
from tests.components.evaluated import HELD, run_evaluator


def examples_of(split_uri: str, path: Path) -> Any:
    """An Examples artifact below a new path whose split `test` is that directory."""
    path.mkdir()
    (path / "Split-test").symlink_to(split_uri)
    examples = standard_artifacts.Examples()
    examples.uri = str(path)
    examples.split_names = artifact_utils.encode_split_names([eval_config.TEST_SPLIT])
    examples.set_string_custom_property("payload_format", "FORMAT_TF_EXAMPLE")
    examples.set_string_custom_property("file_format", "tfrecords_gzip")
    return examples


def evaluate(examples: Any, models: Mapping[str, Any], path: Path, *, size: int) -> Any:
    """Runs the Evaluator; returns its ModelEvaluation.

    Args:
      examples: with the split `test`.
      models: Model artifacts by `eval_config.CANDIDATE` and then, if compared, `BASELINE`.
      path: where it writes.
      size: of the sample.
    """
    config = eval_config.eval_config(HELD, compared=eval_config.BASELINE in models, code="")
    (metrics,) = config.metrics_specs
    del metrics.metrics[1:], config.slicing_specs[2:]
    ours = metrics.metrics[0]
    ours.config = json.dumps({**json.loads(ours.config), "size": size})
    ordered = [
        models[name] for name in (eval_config.CANDIDATE, eval_config.BASELINE) if name in models
    ]
    return run_evaluator(examples, ordered, config, path).evaluation
