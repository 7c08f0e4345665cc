"""The sidecar itself behind the rules, before an nginx that knows nothing of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.kube.rules import PROXY_USER, Family, Format
from tests.kube.network import (
    APP_USER,
    CLIENT,
    POD,
    ROOT,
    Network,
    inside,
    network,
    why_not,
)
from tests.support.nginx import NGINX, needs_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_nginx

# As a distribution ships it: on all addresses, of both families.
NGINX_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 8080;
    listen [::]:8080;
    location / {{
      add_header x-seen-by $remote_addr;
      add_header x-seen-for $http_x_forwarded_for;
      return 200 "from nginx\\n";
    }}
  }}
}}
"""
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
    """One that the application's and the sidecar's user may read."""
    folder = Path(tempfile.mkdtemp(prefix="sidecar-pod-"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _as(user: int) -> list[str]:
    """Return what starts a program as a user who may read Python, wherever it is."""
    may_read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    who = (f"--reuid={user}", f"--regid={user}", "--clear-groups")
    return ["setpriv", *who, *may_read, "--"]


@contextmanager
def started(net: Network, user: int, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a process in the pod; it is gone afterwards."""
    start = partial(
        subprocess.Popen, [*_as(user), *command], cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
    )  # fmt: skip
    process: subprocess.Popen[str] = inside(net.pod, start)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def nginx(net: Network, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield an nginx that answers on 8080."""
    assert NGINX is not None
    config = folder / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(folder=folder), encoding="utf-8")
    log = str(folder / "error.log")
    words = (NGINX, "-p", str(folder), "-c", str(config), "-e", log)
    with started(net, APP_USER, *words) as process:
        while not is_open(net):
            assert process.poll() is None, "nginx did not start"
        yield process


def is_open(net: Network) -> bool:
    """Tell whether the application listens; asked over loopback, past the sidecar."""
    try:
        net.connect(net.pod, APP_USER, "127.0.0.1", 8080).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def sidecar(net: Network, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a sidecar that serves, as the user that the rules let go."""
    words = (sys.executable, "-m", "sidecar", "run", *options)
    with started(net, PROXY_USER, *words) as process:
        assert process.stderr is not None
        line = ""
        while "serving: " not in line:
            line = process.stderr.readline()
            assert line, "it ended"
        yield process


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


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
