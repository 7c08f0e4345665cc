"""A real nginx on loopback, as an origin."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from benchmarks.processes import BOUND

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Debian keeps it where not every user's path leads.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type text/plain;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/www;
{server}
  }}
}}
"""


class Nginx:
    """Where it listens, and the folder that it serves."""

    def __init__(self, port: int, www: Path) -> None:
        self.port = port
        self.www = www

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def nginx_origin(folder: Path, server: str = "") -> AsyncIterator[Nginx]:
    """Run nginx with these lines in its `server` block."""
    (folder / "www").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, server=server))
    assert NGINX is not None
    process = await asyncio.create_subprocess_exec(
        *(*BOUND, NGINX, "-p", str(folder), "-c", str(config)),
        *("-e", str(folder / "error.log")),
    )
    try:
        await _reachable(port, process)
        yield Nginx(port, folder / "www")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _reachable(port: int, process: asyncio.subprocess.Process) -> None:
    while True:
        assert process.returncode is None, "nginx did not start"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        await writer.wait_closed()
        return
