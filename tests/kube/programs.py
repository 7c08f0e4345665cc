"""What runs in the pod of a test: applications, and the sidecar beside them.

Each is a process in the pod's network namespace, under a user of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.kube.rules import PROXY_USER
from tests.kube.network import APP_USER, ROOT, inside
from tests.support.nginx import NGINX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kube.network import Network

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
    {listens}
    location / {{
      add_header x-seen-by $remote_addr;
      add_header x-seen-for $http_x_forwarded_for;
      add_header x-seen-port $server_port;
      return 200 "from nginx\\n";
    }}
  }}
}}
"""

EVERYWHERE = ("8080", "[::]:8080")


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """Yield one that the application's and the sidecar's user may read."""
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
def started(where: str, user: int, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Yield a process in a network namespace; it is gone afterwards."""
    start = partial(
        subprocess.Popen, [*_as(user), *command], cwd=ROOT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")},
    )  # fmt: skip
    process: subprocess.Popen[str] = inside(where, start)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def nginx(
    net: Network,
    folder: Path,
    listens: tuple[str, ...] = EVERYWHERE,
    where: str = "",
) -> Iterator[subprocess.Popen[str]]:
    """Yield an nginx of the pod, or elsewhere, that answers."""
    assert NGINX is not None
    where = where or net.pod
    config = folder / f"{where}.conf"
    lines = " ".join(f"listen {each};" for each in listens)
    config.write_text(NGINX_CONFIG.format(folder=folder, listens=lines), "utf-8")
    log = str(folder / "error.log")
    words = (NGINX, "-p", str(folder), "-c", str(config), "-e", log)
    host, _, port = listens[0].rpartition(":")
    user = APP_USER if where == net.pod else 0
    with started(where, user, *words) as process:
        until_open(process, net, where, host or "127.0.0.1", int(port))
        yield process


@contextmanager
def redis(net: Network, folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Yield a Redis of the pod, without a file."""
    words = ("redis-server", "--port", str(port), "--save", "", "--appendonly", "no")
    bound = ("--bind", "0.0.0.0", "--protected-mode", "no", "--dir", str(folder))
    with started(net.pod, APP_USER, *words, *bound) as process:
        until_open(process, net, net.pod, "127.0.0.1", port)
        yield process


def until_open(
    process: subprocess.Popen[str], net: Network, where: str, host: str, port: int
) -> None:
    """Return when an application listens; asked past the sidecar."""
    while not is_open(net, where, host, port):
        assert process.poll() is None, "it did not start"


def is_open(
    net: Network, where: str, host: str = "127.0.0.1", port: int = 8080
) -> bool:
    """Tell whether somebody listens there; asked from that very host."""
    try:
        net.connect(where, APP_USER, host, port).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def sidecar(
    net: Network, *options: str, user: int = PROXY_USER, where: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Yield a sidecar of the pod, or elsewhere, as the user that the rules let go."""
    words = (sys.executable, "-m", "sidecar", "run", *options)
    with started(where or net.pod, user, *words) as process:
        assert process.stderr is not None
        line = ""
        while "serving: " not in line:
            line = process.stderr.readline()
            assert line, "it ended"
        yield process


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def metric(net: Network, name: str, *labels: str) -> float:
    """Return the sum of the sidecar's series of a name that have these labels."""
    connection = HTTPConnection("127.0.0.1", 15020, timeout=20)
    connection.sock = net.connect(net.pod, PROXY_USER, "127.0.0.1", 15020)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    rows = [row for row in text.splitlines() if row.startswith(f"{name}{{")]
    found = [row for row in rows if all(label in row for label in labels)]
    return sum(float(row.rpartition(" ")[2]) for row in found)
