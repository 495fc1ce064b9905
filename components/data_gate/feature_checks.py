"""Turns what ExampleValidator found wrong with the features into checks in the field's terms."""

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
_REMEDIES = {
    **dict.fromkeys(_SHAPE, "bring all images to one shape"),
    features.LABEL: "correct the labels of the source",
    features.MEAN_INTENSITY: "look at such images (what is transparent is black), remove them, or "
    "set data_gate.min_mean_intensity or data_gate.max_mean_intensity",
}


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
    found = {".".join(feature.path.step): feature for feature in statistics.features}
    wrong = anomalies.anomaly_info
    checks = []
    for name in (*expected, *sorted(set(wrong) - set(expected))):
        actual = _actual(found.get(name), statistics.num_examples)
        required = _required(expected.get(name))
        sentence = f"{name} is {actual}"
        if name in wrong:
            remedy = _REMEDIES.get(name, "look at the source")
            sentence = f"{_problem(name, wrong[name])}: {sentence}, expected {required}; {remedy}"
        sentence = f"{split}: {sentence}"
        checks.append(Check(f"data.{split}.{name}", name not in wrong, actual, required, sentence))
    if anomalies.HasField("dataset_anomaly_info"):
        what = anomalies.dataset_anomaly_info.description
        sentence = f"{split}: {what}; look at the source"
        checks.append(Check(f"data.{split}.dataset", False, what, None, sentence))
    return tuple(checks)


def _actual(feature: statistics_pb2.FeatureNameStatistics | None, rows: int) -> str:
    """The feature's statistics, such as "INT in 20 of 21 examples, from 0 to 12"."""
    if feature is None:
        return f"in none of {rows:,} examples"
    stats = getattr(feature, feature.WhichOneof("stats"))
    common = stats.common_stats
    # Statistics call bytes that are UTF-8 a STRING, and a schema does not.
    kind = statistics_pb2.FeatureNameStatistics.Type.Name(feature.type).replace("STRING", "BYTES")
    present = common.num_non_missing
    text = f"{kind} in {'each example' if present == rows else f'{present:,} of {rows:,} examples'}"
    if common.max_num_values > 1:
        text += f" with up to {common.max_num_values} values"
    if feature.HasField("num_stats"):
        nans = stats.histograms[0].num_nan if stats.histograms else 0
        text += f", {_range(stats.min, stats.max)}" + (f" and {nans} NaN" if nans else "")
        if feature.type == statistics_pb2.FeatureNameStatistics.FLOAT and stats.num_zeros:
            text += f", {stats.num_zeros} of them 0"
    return text


def _required(feature: schema_pb2.Feature | None) -> str:
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
    reasons = {reason.type for reason in anomaly.reason}
    low, high = _Reason.FLOAT_TYPE_SMALL_FLOAT, _Reason.FLOAT_TYPE_BIG_FLOAT
    out_of_range = reasons & set(_OUT_OF_RANGE)
    known = {
        f"missing {name}": reasons & set(_MISSING),
        "unknown label": name == features.LABEL and out_of_range,
        "wrong shape": name in _SHAPE and out_of_range,
        "blank image": name == features.MEAN_INTENSITY and low in reasons,
        "inverted image": name == features.MEAN_INTENSITY and high in reasons,
    }
    named = [problem for problem, holds in known.items() if holds]
    return " and ".join(named) or anomaly.short_description.lower()
