"""The sidecar itself behind the rules, before an nginx that knows nothing of it."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from sidecar.kube.rules import Family, Format
from tests.kube.network import CLIENT, POD, Network, network, why_not
from tests.kube.programs import folder_for_all, nginx, sidecar, stop
from tests.support.nginx import needs_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_nginx

BOTH_FAMILIES = """
inbound: {listen: "[::]:15006"}
upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}
routes: [{name: all, upstream: app}]
drain: {lead: 0s}
"""


@pytest.fixture(params=list(Format), ids=lambda tool: tool.value)
def net(request: pytest.FixtureRequest) -> Iterator[Network]:
    if reason := why_not(request.param):
        pytest.skip(reason)
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    with network() as net:
        net.iptables("--apply", "--format", request.param.value)
        yield net


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_for_all() as folder:
        yield folder


class Answer:
    """What the client gets from port 8080 of the pod."""

    def __init__(self, net: Network, family: Family) -> None:
        connection = HTTPConnection(POD[family], 8080, timeout=20)
        connection.sock = net.connect(net.client, 0, POD[family], 8080)
        connection.request("GET", "/")
        response = connection.getresponse()
        self.status = response.status
        self.body = response.read()
        self.via = response.headers["via"]
        self.server = response.headers["server"]
        self.code = response.headers["x-316-code"]
        self.seen_for = response.headers["x-seen-for"]
        self.seen_by = response.headers["x-seen-by"]
        connection.close()


def assert_nginx_by_sidecar(answer: Answer) -> None:
    assert answer.status == 200
    assert answer.body == b"from nginx\n"
    assert answer.server.startswith("nginx")
    assert "sidecar" in answer.via
    assert answer.seen_by == "127.0.0.1"  # Its peer is the sidecar, over loopback.


def test_nginx_is_asked_by_the_sidecar_and_both_may_start_again(
    net: Network, folder: Path
) -> None:
    options = ("--upstream", "127.0.0.1:8080")
    with ExitStack() as stack:
        first = stack.enter_context(nginx(net, folder))
        proxy = stack.enter_context(sidecar(net, *options))
        assert_nginx_by_sidecar(Answer(net, Family.IPV4))
        stop(first)
        failed = Answer(net, Family.IPV4)
        assert failed.status == 502
        assert failed.code == "316-RETRY-EXHAUSTED"
        stack.enter_context(nginx(net, folder))
        assert_nginx_by_sidecar(Answer(net, Family.IPV4))
        stop(proxy)
        with pytest.raises(ConnectionRefusedError):  # Nobody goes past a sidecar.
            Answer(net, Family.IPV4)
        stack.enter_context(sidecar(net, *options))
        assert_nginx_by_sidecar(Answer(net, Family.IPV4))


def test_nginx_is_asked_over_ipv4_and_ipv6(net: Network, folder: Path) -> None:
    config = folder / "sidecar.yaml"
    config.write_text(BOTH_FAMILIES, encoding="utf-8")
    with nginx(net, folder), sidecar(net, "-c", str(config)):
        for family in Family:
            answer = Answer(net, family)
            assert_nginx_by_sidecar(answer)
            assert answer.seen_for == CLIENT[family]


def test_without_the_rules_nobody_stands_between(net: Network, folder: Path) -> None:
    """What the tests above are worth."""
    net.iptables("--remove")
    with nginx(net, folder), sidecar(net, "--upstream", "127.0.0.1:8080"):
        for family in Family:
            answer = Answer(net, family)
            assert answer.body == b"from nginx\n"
            assert answer.via is None
