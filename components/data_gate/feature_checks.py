"""Turns what ExampleValidator found wrong with the features into checks in the field's terms.

Synopsis::

    checks = feature_checks("train", anomalies, statistics, schema)
"""

from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.gate.check import Check
from trainer import features

_Reason = anomalies_pb2.AnomalyInfo
_MISSING = (
    _Reason.FEATURE_TYPE_LOW_FRACTION_PRESENT,
    _Reason.FEATURE_TYPE_LOW_NUMBER_PRESENT,
    _Reason.FEATURE_TYPE_NOT_PRESENT,
    _Reason.SCHEMA_MISSING_COLUMN,
)
_OUT_OF_RANGE = (_Reason.INT_TYPE_BIG_INT, _Reason.INT_TYPE_SMALL_INT)
_SHAPE = (features.HEIGHT, features.WIDTH, features.CHANNELS)


def feature_checks(
    split: str,
    anomalies: anomalies_pb2.Anomalies,
    statistics: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
) -> tuple[Check, ...]:
    """Makes one check per feature of the schema, then one per feature that should not be there.

    Only ExampleValidator's anomalies decide; the statistics supply the actual values.
    """
    expected = {feature.name: feature for feature in schema.feature}
    found = {_name(feature.path, feature.name): feature for feature in statistics.features}
    wrong = {_name(info.path, key): info for key, info in anomalies.anomaly_info.items()}
    names = [*expected, *sorted(set(wrong) - set(expected))]
    checks = [
        _feature_check(
            split,
            name,
            actual=_actual(found.get(name), statistics.num_examples),
            required=_required(expected.get(name)),
            anomaly=wrong.get(name),
        )
        for name in names
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        what = anomalies.dataset_anomaly_info.description
        sentence = f"{split}: {what}; look at the source"
        checks.append(Check(f"data.{split}.dataset", False, what, None, sentence))
    return tuple(checks)


def _name(path: Any, fallback: str) -> str:
    return ".".join(path.step) or fallback


def _feature_check(
    split: str,
    name: str,
    *,
    actual: str,
    required: str,
    anomaly: anomalies_pb2.AnomalyInfo | None,
) -> Check:
    check = f"data.{split}.{name}"
    if anomaly is None:
        return Check(check, True, actual, required, f"{split}: {name} is {actual}")
    sentence = (
        f"{split}: {_problem(name, anomaly)}: {name} is {actual}, expected {required}; "
        f"{_remedy(name)}"
    )
    return Check(check, False, actual, required, sentence)


def _actual(feature: statistics_pb2.FeatureNameStatistics | None, rows: int) -> str:
    """What the statistics found, such as "INT in 20 of 21 examples, from 0 to 12"."""
    if feature is None:
        return f"in none of {rows} examples"
    stats = getattr(feature, feature.WhichOneof("stats"))
    common = stats.common_stats
    kind = statistics_pb2.FeatureNameStatistics.Type.Name(feature.type)
    present = common.num_non_missing
    text = f"{kind} in {'each example' if present == rows else f'{present} of {rows} examples'}"
    if common.max_num_values > 1:
        text += f" with up to {common.max_num_values} values"
    if feature.HasField("num_stats"):
        nans = stats.histograms[0].num_nan if stats.histograms else 0
        text += f", {_range(stats.min, stats.max)}" + (f" and {nans} NaN" if nans else "")
    return text


def _required(feature: schema_pb2.Feature | None) -> str:
    """What the schema asks for, in the words of `_actual`."""
    if feature is None:
        return "no such feature"
    text = f"{schema_pb2.FeatureType.Name(feature.type)} in each example"
    domain = feature.WhichOneof("domain_info")
    if domain in ("int_domain", "float_domain"):
        bounds = getattr(feature, domain)
        text += f", {_range(bounds.min, bounds.max)}"
    return text


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"from {low:g} to {high:g}"


def _problem(name: str, anomaly: anomalies_pb2.AnomalyInfo) -> str:
    """The anomaly in this field's words; TFDV's own where there are none."""
    reasons = {reason.type for reason in anomaly.reason}
    known = {
        f"missing {name}": reasons & set(_MISSING),
        "unknown label": name == features.LABEL and reasons & set(_OUT_OF_RANGE),
        "wrong shape": name in _SHAPE and reasons & set(_OUT_OF_RANGE),
        "blank image": name == features.MEAN_INTENSITY
        and _Reason.FLOAT_TYPE_SMALL_FLOAT in reasons,
        "inverted image": name == features.MEAN_INTENSITY
        and _Reason.FLOAT_TYPE_BIG_FLOAT in reasons,
    }
    named = [problem for problem, holds in known.items() if holds]
    return " and ".join(named) or anomaly.short_description.lower()


def _remedy(name: str) -> str:
    if name == features.MEAN_INTENSITY:
        return (
            "remove the image, or set data_gate.min_mean_intensity or data_gate.max_mean_intensity"
        )
    if name in _SHAPE:
        return "bring all images to one shape"
    if name == features.LABEL:
        return "correct the labels of the source"
    return "look at the source"
