"""The OpenAPI document, and the admin API held to it by schemathesis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import jsonschema  # type: ignore[import-untyped]  # It ships no types.
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sidecar.admin import page
from sidecar.admin.schemas import SCHEMAS
from sidecar.policy.breaker import State
from tests.admin.test_faults import fail
from tests.docs.serving import serving
from tests.support.admin import KNOWING, client_of
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Iterator

# The first answers for as long as one listens; the others end or change the server.
APART = ("/faults/stream", "/quit", "/reload", "/log-level")
# Where `make page` was not run it has nothing but a 503, which no check lets pass.
PAGE = () if page.load() is not None else page.PATHS
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ADMIN, INBOUND = "127.0.0.1:15000", "127.0.0.1:15006"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An admin API that has failures to tell of."""
    with serving(tmp_path_factory.mktemp("openapi")) as addresses:
        for _ in range(7):
            with pytest.raises(HTTPError):
                urlopen(f"http://{addresses[INBOUND]}/")
        yield f"http://{addresses[ADMIN]}"


async def test_every_route_is_told_with_a_summary_and_what_it_answers() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        document = await admin.get("/openapi.json")
        paths = (await admin.get("/"))["paths"]
        assert set(document["paths"]) == set(paths)
        for operations in document["paths"].values():
            for operation in operations.values():
                assert operation["summary"].endswith(".")
                assert operation["responses"]
        query = document["paths"]["/faults"]["get"]["parameters"]
        assert {"severity", "since", "text", "cursor"} <= {p["name"] for p in query}


async def test_each_record_group_and_event_is_as_it_is_told() -> None:
    """And no member of one is left out of the document."""
    async with proxied() as proxy, client_of(proxy) as admin:
        fail(proxy)
        recorder = proxy.app.recorder
        recorder.transition("all", "app", State.CLOSED, State.OPEN, "why")
        [record] = await admin.get("/faults?route=all")
        whole = await admin.get(f"/faults/{record['fault_id']}")
        group = await admin.get(f"/fault-groups/{record['group']}")
        shown = [("Fault", whole), ("FaultGroup", group)]
        shown += [("Attempt", attempt) for attempt in whole["attempts"]]
        shown += [("Event", event) for event in await admin.get("/events")]
        for name, told in shown:
            assert told.keys() <= SCHEMAS[name]["properties"].keys()
            schema = {"$ref": f"#/components/schemas/{name}"}
            jsonschema.validate(told, schema | {"components": {"schemas": SCHEMAS}})


@pytest.mark.parametrize("headers", [{}, KNOWING], ids=["a stranger", "who may"])
def test_whatever_is_asked_the_answer_is_as_the_document_says(
    base: str, headers: dict[str, str]
) -> None:
    schema = schemathesis.openapi.from_url(f"{base}/openapi.json").exclude(
        path=[*APART, *PAGE]
    )
    asked = set()
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=8,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            case.call_and_validate(base_url=base, headers=headers, checks=CHECKS)

        check()
        asked.add(operation.path)
    assert {"/faults", "/fault-groups", "/events", "/breakers/{name}"} <= asked
