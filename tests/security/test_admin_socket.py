"""The Unix socket of the admin API: its file is the login."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

from sidecar.accept.listener import ListenError
from sidecar.admin.token import VARIABLE
from sidecar.admin.unix_socket import SocketError, UnixSocket
from sidecar.app import App
from sidecar.settings.load import from_upstream
from tests.support.proxy import ANYWHERE, proxied

OPEN = {"state": "open", "for_s": 60}


def keys(path: Path) -> dict[str, Any]:
    return {"admin": {"listen": ANYWHERE, "socket": str(path)}}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "a.sock"


async def test_whoever_may_open_it_may_change_things(path: Path) -> None:
    """Without a token, under any Host: no page of a browser can get there."""
    async with (
        proxied(top=keys(path)),
        aiohttp.ClientSession(
            "http://any.test", connector=aiohttp.UnixConnector(str(path))
        ) as session,
    ):
        async with session.post("/breakers/all", json=OPEN) as got:
            assert got.status == 200
            assert (await got.json())["state"] == "open"
        async with session.get("/config") as got:
            assert got.status == 200


async def test_it_is_of_its_owner_alone_and_gone_at_the_end(path: Path) -> None:
    async with proxied(top=keys(path)):
        found = os.lstat(path)
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_uid == os.geteuid()
    assert not is_there(path)


def is_there(path: Path) -> bool:
    return path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect() -> None:
    """It is the mode that keeps him out: with another one he would be in."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "a.sock")
        bound = UnixSocket(str(path))
        try:
            assert "PermissionError: [Errno 13]" in another_user_connects(path)
            path.chmod(0o666)
            assert another_user_connects(path) == ""
        finally:
            bound.close()


def another_user_connects(path: Path) -> str:
    """Return what goes wrong for a process that has given up being root."""
    code = (
        "import os, socket, sys\nos.setgid(65534)\nos.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as asking: asking.connect(sys.argv[1])"
    )
    asked = subprocess.run(
        [sys.executable, "-I", "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stderr


async def test_what_a_dead_process_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with proxied(top=keys(path)):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(path))


async def test_one_that_is_served_is_let_be(path: Path) -> None:
    """The traffic does not start either: two of them would be a mistake."""
    async with proxied(top=keys(path)):
        second = App(
            from_upstream(
                "127.0.0.1:1",
                inbound={"listen": ANYWHERE},
                health={"listen": ANYWHERE},
                **keys(path),
            )
        )
        with pytest.raises(ListenError, match="another process serves it"):
            await second.start()
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(path))  # The first one is there still.


def test_a_file_that_is_no_socket_is_let_be(path: Path) -> None:
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(SocketError, match=r"no socket; set admin\.socket to another"):
        UnixSocket(str(path))
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_link_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    path.symlink_to(target)
    with pytest.raises(SocketError, match="no socket"):
        UnixSocket(str(path))
    assert not target.exists()


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(SocketError, match=r"No such file .*let this user write in"):
        UnixSocket(str(path / "none"))


def test_at_the_end_only_its_own_file_is_removed(path: Path) -> None:
    """Somebody may have put another one there meanwhile."""
    mine = UnixSocket(str(path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        mine.close()
        assert path.exists()
