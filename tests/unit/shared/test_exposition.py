"""`/metrics` as Prometheus reads it, with the traces of what was measured."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from shared.exposition import exposition
from shared.settings import PlatformSettings
from shared.telemetry import Telemetry, configure_telemetry, current_trace_id

OPEN_METRICS = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    configured = configure_telemetry(PlatformSettings(), "test")
    yield configured
    configured.meter_provider.shutdown()


def record(telemetry: Telemetry, *seconds: float, sampler: Sampler = ALWAYS_ON, **labels: object) -> str:
    """Measure within a span and return its trace."""
    histogram = telemetry.meter.create_histogram(
        "rag.test.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0]
    )
    with TracerProvider(sampler=sampler).get_tracer("test").start_as_current_span("work"):
        for value in seconds:
            histogram.record(value, {key: value for key, value in labels.items() if isinstance(value, str | bool)})
        return current_trace_id()


def buckets() -> dict[str, Sample]:
    body, content_type = exposition(OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    read = text_string_to_metric_families(body.decode())  # type: ignore[no-untyped-call]
    families = {family.name: family for family in read}
    samples = families["rag_test_duration_seconds"].samples
    return {sample.labels["le"]: sample for sample in samples if sample.name.endswith("_bucket")}


def test_a_bucket_names_the_trace_of_what_fell_into_it(telemetry: Telemetry) -> None:
    trace = record(telemetry, 0.5, outcome="ok", cached=True, left_out="")
    found = buckets()
    assert found["0.1"].exemplar is None
    exemplar = found["1.0"].exemplar
    assert exemplar is not None
    assert (exemplar.labels["trace_id"], exemplar.value) == (trace, 0.5)
    assert found["1.0"].labels.items() >= {"outcome": "ok", "cached": "true"}.items()


@pytest.mark.parametrize(("value", "bucket"), [(0.1, "0.1"), (0.1001, "1.0"), (1.0, "1.0"), (7.0, "+Inf")])
def test_a_value_on_a_bound_belongs_below_it(telemetry: Telemetry, value: float, bucket: str) -> None:
    record(telemetry, value)
    assert [place for place, sample in buckets().items() if sample.exemplar] == [bucket]


def test_every_scraper_sees_the_last_trace_of_a_bucket(telemetry: Telemetry) -> None:
    record(telemetry, 0.5)
    last = record(telemetry, 0.6)
    for _ in range(2):
        exemplar = buckets()["1.0"].exemplar
        assert exemplar is not None
        assert exemplar.labels["trace_id"] == last


def test_what_is_not_sampled_is_measured_and_names_no_trace(telemetry: Telemetry) -> None:
    record(telemetry, 0.5, sampler=ALWAYS_OFF)
    found = buckets()
    assert found["1.0"].value == 1
    assert [sample.exemplar for sample in found.values()] == [None] * 3


def test_the_older_text_has_no_exemplars_which_would_break_its_readers(telemetry: Telemetry) -> None:
    record(telemetry, 0.5)
    body, content_type = exposition(None)
    assert content_type.startswith("text/plain")
    assert b'rag_test_duration_seconds_bucket{le="1.0"} 1.0\n' in body
    assert b"trace_id" not in body


def test_a_service_that_does_not_measure_shows_its_process_alone() -> None:
    silent = configure_telemetry(PlatformSettings(metrics=False), "test")
    record(silent, 0.5)
    body, _ = exposition(OPEN_METRICS)
    silent.meter_provider.shutdown()
    assert b"rag_test" not in body
    assert b"process_cpu_seconds_total" in body
