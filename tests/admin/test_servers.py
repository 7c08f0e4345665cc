"""Admin and health, asked by a real client, of a real sidecar."""

from __future__ import annotations

import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as open_parser

from sidecar.accept.listener import ListenError
from sidecar.admin.token import VARIABLE
from sidecar.app import App
from sidecar.readiness import NotReady
from sidecar.settings.load import from_upstream
from tests.support.admin import TOKEN, client_of
from tests.support.proxy import ANYWHERE, header_of, proxied, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTY = "x-316-deadline-ms: x"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let those who know it change something."""
    monkeypatch.setenv(VARIABLE, TOKEN)


@pytest.fixture
def own_level() -> Iterator[None]:
    """Put the level back that a test has changed."""
    logger = logging.getLogger("sidecar")
    before = logger.level
    yield
    logger.setLevel(before)


async def test_the_index_names_every_path() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        index = await admin.get("/")
        assert index["ready"] is True
        assert set(index["paths"]) == {
            "/", "/config", "/routes", "/upstreams", "/breakers", "/breakers/{name}",
            "/upstreams/{name}/endpoints/{address}",
            "/application",
            "/faults", "/faults/stream", "/faults/{id}", "/fault-groups",
            "/fault-groups/{id}", "/events", "/traffic", "/traffic/history",
            "/page", "/page/licences.txt", "/openapi.json", "/log-level", "/quit",
            "/reload",
        }  # fmt: skip


async def test_config_is_what_is_in_force_without_its_secrets() -> None:
    edits = {"set": {"Authorization": "Bearer s3cret", "x-team": "shop"}}
    async with proxied(request_headers=edits) as proxy, client_of(proxy) as admin:
        shown = await admin.get("/config")
        assert shown["version"] == proxy.app.snapshot.version
        route = shown["settings"]["routes"][0]
        assert route["name"] == "all"
        assert "x-team" in json.dumps(route)
        assert "s3cret" not in json.dumps(shown)
        drain = {"lead": "5s", "grace": "30s", "follow_application": False}
        assert shown["settings"]["drain"] == drain  # Defaults.
        most = shown["in_force"]["connections"]  # What memory and files leave of them.
        assert 0 < most <= shown["settings"]["limits"]["connections"]


async def test_routes_and_upstreams_tell_how_things_stand() -> None:
    async with proxied(hosts=["test"]) as proxy, client_of(proxy) as admin:
        await proxy.get()
        [route] = await admin.get("/routes")
        assert route["name"] == "all"
        assert route["hosts"] == ["test"]
        assert (route["in_flight"], route["breaker"]) == (0, "closed")
        [upstream] = await admin.get("/upstreams")
        assert upstream["name"] == "app"
        assert upstream["in_flight"] == 0
        assert (upstream["requests_in_budget"], upstream["retries_in_flight"]) == (0, 0)
        assert [breaker["probes"] for breaker in await admin.get("/breakers")] == [0]
        [endpoint] = upstream["endpoints"]
        assert endpoint["address"] == f"127.0.0.1:{proxy.origin.port}"
        assert (endpoint["idle"], endpoint["busy"]) == (1, 0)


async def test_a_breaker_held_open_refuses_until_it_is_held_closed() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        body = {"state": "open", "for_s": 60}
        status, held = await admin.ask("/breakers/all", "POST", body=body)
        assert (status, held["state"]) == (200, "open")
        answer = await proxy.get()
        assert status_of(answer) == 503
        assert header_of(answer, "x-316-code") == "316-CIRCUIT-OPEN"
        assert int(str(header_of(answer, "retry-after"))) <= 60
        body = {"state": "closed", "for_s": 60}
        status, held = await admin.ask("/breakers/all", "POST", body=body)
        assert (status, held["state"]) == (200, "closed")
        assert status_of(await proxy.get()) == 200


async def test_put_and_delete_do_what_post_does() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        body = {"state": "open", "for_s": 60}
        status, held = await admin.ask("/breakers/all", "PUT", body=body)
        assert (status, held["state"]) == (200, "open")
        status, held = await admin.ask("/breakers/all", "DELETE")
        assert status == 200
        assert held["state"] != "open"


async def test_a_hold_expires_by_itself() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        body = {"state": "open", "for_s": 0.05}
        await admin.ask("/breakers/all", "POST", body=body)
        while status_of(await proxy.get()) != 200:
            pass  # The hold is the condition; the test's own time bounds it.


async def test_an_endpoint_ejected_by_hand_is_asked_for_nothing() -> None:
    async with proxied() as other, proxied() as here:
        ports = [here.origin.port, other.origin.port]
        both = [f"127.0.0.1:{port}" for port in ports]
        async with proxied(endpoints=both) as proxy, client_of(proxy) as admin:
            path = f"/upstreams/app/endpoints/{both[0]}"
            body = {"state": "ejected", "for_s": 60}
            status, told = await admin.ask(path, "POST", body=body)
            assert (status, told["state"], told["address"]) == (200, "ejected", both[0])
            for _ in range(6):
                assert status_of(await proxy.get()) == 200
            assert [len(o.requests) for o in (here.origin, other.origin)] == [0, 6]
            [upstream] = await admin.get("/upstreams")
            shown = upstream["endpoints"][0]
            assert (shown["state"], shown["cause"]) == ("ejected", "ejected by hand")
            assert 0 < shown["left_s"] <= 60
            status, told = await admin.ask(path, "DELETE")
            assert (status, told["state"]) == (200, "healthy")
            for _ in range(2):
                await proxy.get()
            assert here.origin.requests


async def test_an_endpoint_that_cannot_be_ejected_is_told_so() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        only = f"/upstreams/app/endpoints/127.0.0.1:{proxy.origin.port}"
        body = {"state": "ejected"}
        for path, expected in (
            (only, 409),
            ("/upstreams/app/endpoints/10.0.0.9:1", 404),
            ("/upstreams/none/endpoints/10.0.0.9:1", 404),
        ):
            assert (await admin.ask(path, "POST", body=body))[0] == expected
            assert (await admin.ask(path, "DELETE"))[0] == expected
    two = ["127.0.0.1:1", "127.0.0.1:2"]
    async with proxied(endpoints=two) as proxy, client_of(proxy) as admin:
        path = "/upstreams/app/endpoints/127.0.0.1:1"
        status, told = await admin.ask(path, "POST", body={"state": "open"})
        assert status == 400
        assert '"ejected" or "auto"' in json.dumps(told).replace("\\", "")


async def test_a_breaker_held_closed_does_not_open_until_it_is_let_go() -> None:
    async with (
        proxied(endpoints=["127.0.0.1:1"], retry={"preset": "off"}) as proxy,
        client_of(proxy) as admin,
    ):
        await admin.ask("/breakers/all", "POST", body={"state": "closed", "for_s": 60})
        codes = [header_of(await proxy.get(), "x-316-code") for _ in range(8)]
        assert set(codes) == {"316-CONN-REFUSED"}
        body = {"state": "auto"}
        assert (await admin.ask("/breakers/all", "POST", body=body))[0] == 200
        codes = [header_of(await proxy.get(), "x-316-code") for _ in range(8)]
        assert codes[-1] == "316-CIRCUIT-OPEN"


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "{}", {"state": "ajar"}, {"state": "open", "for_s": 0},
     {"state": "open", "for_s": "1"}, {"state": "open", "for_s": True},
     {"state": "open", "for_s": 1e9}],
    ids=str,
)  # fmt: skip
async def test_a_hold_that_makes_no_sense_is_refused(body: Any) -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        status, told = await admin.ask("/breakers/all", "POST", body=body)
        assert status == 400
        assert told["error"]
        assert (await admin.get("/breakers"))[0]["state"] == "closed"


async def test_no_such_breaker() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        for method in ("POST", "PUT", "DELETE"):
            status, told = await admin.ask("/breakers/none", method, body={})
            assert status == 404
            assert "'none'" in told["error"]


async def test_faults_are_listed_found_and_searched() -> None:
    async with proxied(hosts=["test"]) as proxy, client_of(proxy) as admin:
        await proxy.get("/", FAULTY)
        await proxy.ask(b"GET / HTTP/1.1\r\nHost: else\r\nConnection: close\r\n\r\n")
        faults = await admin.get("/faults?route=")
        assert faults[0]["code"] == "316-ROUTE-NOT-FOUND"
        [fault] = await admin.get("/faults?code=316-proto-control-header")
        assert fault["route"] == "all"
        whole = await admin.get(f"/faults/{fault['fault_id']}")
        assert fault.items() <= whole.items()
        assert await admin.get("/faults?limit=0") == []
        assert (await admin.ask("/faults?limit=-1"))[0] == 400
        assert (await admin.ask("/faults?limit=x"))[0] == 400
        assert (await admin.ask("/faults/none"))[0] == 404


@pytest.mark.usefixtures("own_level")
async def test_the_log_level_can_be_changed() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        for body in ("debug", {"level": "DEBUG"}, '"Debug"'):
            logging.getLogger("sidecar").setLevel(logging.INFO)
            status, told = await admin.ask("/log-level", "POST", body=body)
            assert (status, told) == (200, {"level": "debug"})
            assert await admin.get("/log-level") == {"level": "debug"}
        status, told = await admin.ask("/log-level", "POST", body="loud")
        assert status == 400
        assert "debug, info, warning, error" in told["error"]


async def test_pages_of_other_sites_are_kept_out() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        hold = {"state": "open"}
        assert (await admin.ask("/config", Host="evil.test"))[0] == 403
        status, _ = await admin.ask(
            "/breakers/all", "POST", body=hold, Origin="http://evil.test"
        )
        assert status == 403
        assert (await admin.ask("/config", Origin="http://evil.test"))[0] == 200
        assert (await admin.get("/breakers"))[0]["state"] == "closed"


async def test_a_large_body_is_refused() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        status, _ = await admin.ask("/log-level", "PUT", body="x" * 100_000)
        assert status == 413


async def test_health_follows_the_sidecar() -> None:
    async with proxied() as proxy, client_of(proxy, "health") as health:
        assert await health.ask("/healthz/ready") == (200, "ready\n")
        assert await health.ask("/healthz/live") == (200, "live\n")
        proxy.app.readiness.hold(NotReady.DRAINING, "draining")
        assert await health.ask("/healthz/ready") == (503, "not ready: draining\n")
        assert await health.ask("/healthz/live") == (200, "live\n")


async def test_admin_is_not_open_to_the_network_by_chance() -> None:
    """Nothing of the admin API is on the health server."""
    async with proxied() as proxy, client_of(proxy, "health") as health:
        for path in ("/config", "/faults", "/log-level"):
            assert (await health.ask(path))[0] == 404


async def test_metrics_in_either_format() -> None:
    """Both parse; OpenMetrics only when it is asked for."""
    async with proxied() as proxy, client_of(proxy, "health") as health:
        await proxy.get("/", FAULTY)
        status, text = await health.ask("/metrics")
        assert status == 200
        plain = {f.name for f in parser.text_string_to_metric_families(text)}
        _, text = await health.ask("/metrics", Accept=OPEN_METRICS)
        parsed: Any = open_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # Its.
        families = {family.name for family in parsed}
        assert "app_316_fault" in families
        assert len(plain) == len(families)


async def test_a_large_scrape_parses_as_a_small_one() -> None:
    """Many series are encoded in pieces, so that traffic passes in between."""
    async with proxied() as proxy, client_of(proxy, "health") as health:
        store = proxy.app.recorder.store
        for number in range(1000):
            store.count_fault("316-CONN-RESET", "P1", "app", f"r{number}")
        _, text = await health.ask("/metrics", Accept=OPEN_METRICS)
        parsed: Any = list(open_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # Its.
        [faults] = [f for f in parsed if f.name == "app_316_fault"]
        assert len(faults.samples) > 500
        assert sum(sample.value for sample in faults.samples) == 1000


async def test_a_taken_address_is_told_and_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        loaded = from_upstream(
            "127.0.0.1:1",
            inbound={"listen": ANYWHERE},
            health={"listen": ANYWHERE},
            admin={"listen": f"127.0.0.1:{port}"},
        )
        app = App(loaded)
        with pytest.raises(ListenError, match=rf"admin: .*127\.0\.0\.1:{port}"):
            await app.start()
    assert app.servers is not None
    with pytest.raises(ConnectionRefusedError):  # It was bound before.
        socket.create_connection(app.servers.health_address)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="a machine without IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_any_address_is_of_both_families(host: str) -> None:
    """The kubelet may come by either."""
    async with proxied(top={"health": {"listen": "[::]:0"}}) as proxy:
        port = proxy.app.addresses["health"][1]
        url = f"http://{host}:{port}/healthz/live"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert await answer.text() == "live\n"
