"""What the checks of features say of statistics."""

from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.data_gate.feature_checks import feature_checks


def test_a_text_is_said_to_have_the_type_that_is_required_of_it() -> None:
    schema = schema_pb2.Schema()
    schema.feature.add(name="site", type=schema_pb2.BYTES)
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=2)
    site = statistics.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    site.path.step.append("site")
    site.string_stats.common_stats.num_non_missing = 2
    (check,) = feature_checks("eval", anomalies_pb2.Anomalies(), statistics, schema)
    assert (check.actual, check.required) == ("BYTES in each example", "BYTES in each example")


def test_what_is_wrong_with_all_examples_together_is_refused() -> None:
    anomalies = anomalies_pb2.Anomalies()
    anomalies.dataset_anomaly_info.description = "The dataset has too few examples"
    statistics = statistics_pb2.DatasetFeatureStatistics(num_examples=2)
    (check,) = feature_checks("test", anomalies, statistics, schema_pb2.Schema())
    assert (check.name, check.passed) == ("data.test.dataset", False)
    assert check.sentence == "test: The dataset has too few examples; look at the source"
