"""OTEL_* variables fill what the configuration leaves open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.record.otlp.environment import (
    LOGS,
    TRACES,
    Batching,
    batching,
    from_environment,
    logs_from_environment,
    service_name,
)
from sidecar.settings.snapshot import LogExport, Tracing

if TYPE_CHECKING:
    from collections.abc import Collection

PLAIN = Tracing(False, "grpc", None, 0.01, 2048)
PLACE = "http://collector:4317"


def filled(given: Collection[str] = (), **environ: str) -> Tracing:
    return from_environment(PLAIN, given, environ)


def test_an_empty_environment_changes_nothing() -> None:
    assert filled() == PLAIN


@pytest.mark.parametrize(
    ("environ", "key", "value"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": PLACE}, "enabled", True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": PLACE}, "enabled", True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "enabled", True),
        (
            {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": PLACE},
            "enabled",
            False,
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "protocol", "http/protobuf"),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            "protocol",
            "http/protobuf",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "protocol", "grpc"),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, "sample_ratio", 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "sample_ratio", 0.0),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            "sample_ratio",
            0.25,
        ),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, "sample_ratio", 1.0),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "sample_ratio", 0.01),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "99"}, "queue_spans", 99),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "many"}, "queue_spans", 2048),
    ],
)
def test_a_variable_sets_its_key(
    environ: dict[str, str], key: str, value: object
) -> None:
    assert getattr(filled(**environ), key) == value


def test_what_the_configuration_says_stays() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": PLACE,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_SAMPLER": "always_on",
    }
    given = ("enabled", "protocol", "sample_ratio")
    assert filled(given, **environ) == PLAIN


def test_disabled_is_disabled_whatever_else_is_said() -> None:
    on = from_environment(
        Tracing(True, "grpc", PLACE, 1.0, 10),
        ("enabled",),
        {"OTEL_SDK_DISABLED": "TRUE"},
    )
    assert not on.enabled


def test_batches_go_as_the_variables_say() -> None:
    environ = {
        "OTEL_BSP_SCHEDULE_DELAY": "250",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64",
    }
    assert batching(environ, TRACES) == Batching(0.25, 64)
    assert batching({"OTEL_BSP_SCHEDULE_DELAY": "soon"}, TRACES) == Batching()


def test_the_service_is_named_by_the_configuration_first() -> None:
    environ = {"OTEL_SERVICE_NAME": "from-env"}
    assert service_name("orders", environ) == "orders"
    assert service_name("app", environ) == "from-env"
    assert service_name("app", {}) == "app"


@settings(suppress_health_check=[HealthCheck.too_slow])  # On a busy machine.
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "OTEL_TRACES_SAMPLER",
                "OTEL_TRACES_SAMPLER_ARG",
                "OTEL_BSP_MAX_QUEUE_SIZE",
                "OTEL_BSP_SCHEDULE_DELAY",
                "OTEL_EXPORTER_OTLP_PROTOCOL",
                "OTEL_SDK_DISABLED",
            ]
        ),
        st.one_of(
            st.text(max_size=12),
            st.floats().map(str),
            st.sampled_from(["traceidratio", "always_on", "true"]),
        ),
    )
)
def test_no_value_makes_settings_that_cannot_be(environ: dict[str, Any]) -> None:
    tracing = from_environment(PLAIN, (), environ)
    assert 0.0 <= tracing.sample_ratio <= 1.0
    assert tracing.queue_spans >= 1
    assert tracing.protocol in ("grpc", "http/protobuf")
    assert 0.0 <= batching(environ, TRACES).delay_s < float("inf")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, LogExport(False, "grpc", None, 2048)),
        ({"OTEL_LOGS_EXPORTER": "otlp"}, LogExport(True, "grpc", None, 2048)),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": PLACE},
            LogExport(False, "grpc", None, 2048),
        ),
        (
            {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": PLACE},
            LogExport(True, "grpc", None, 2048),
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": PLACE,
                "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf",
                "OTEL_BLRP_MAX_QUEUE_SIZE": "9",
            },
            LogExport(True, "http/protobuf", None, 9),
        ),
        (
            {"OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": PLACE},
            LogExport(False, "grpc", None, 2048),
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": PLACE},
            LogExport(False, "grpc", None, 2048),
        ),
        (
            {"OTEL_SDK_DISABLED": "true", "OTEL_LOGS_EXPORTER": "otlp"},
            LogExport(False, "grpc", None, 2048),
        ),
    ],
)
def test_logs_have_variables_of_their_own(
    environ: dict[str, str], expected: LogExport
) -> None:
    plain = LogExport(False, "grpc", None, 2048)
    assert logs_from_environment(plain, (), environ) == expected


def test_what_is_configured_of_logs_stays() -> None:
    environ = {"OTEL_BLRP_MAX_QUEUE_SIZE": "9", "OTEL_BLRP_SCHEDULE_DELAY": "250"}
    plain = LogExport(True, "grpc", None, 5)
    assert logs_from_environment(plain, ("queue",), environ).queue == 5
    assert batching(environ, LOGS) == Batching(0.25, 512)
