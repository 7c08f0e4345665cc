"""Whose memory is counted, and what of it can be seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from sidecar.health.memory import ApplicationMemory
from tests.support.cgroups import cgroup_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAN_UNSHARE = os.geteuid() == 0 and shutil.which("unshare")
MIB = 1024 * 1024
MASTER = """
import socket, subprocess, sys
listening = socket.create_server(("127.0.0.1", 0))
worker = subprocess.Popen(
    [sys.executable, "-c", "x = b'x' * 50_000_000; print('held', flush=True); input()"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
worker.stdout.readline()
print(listening.getsockname()[1], flush=True)
input()
"""


FORKING = """
import os, socket
listening = socket.create_server(("127.0.0.1", 0))
said, says = os.pipe()
for _ in range(3):
    if not os.fork():
        os.close(said)
        held = b"x" * 32_000_000
        os.write(says, b"!")
        input()
        os._exit(0)
for _ in range(3):
    os.read(said, 1)
print(listening.getsockname()[1], flush=True)
input()
"""


@contextmanager
def application(program: str = MASTER) -> Iterator[tuple[int, int]]:
    """Run a master that listens and workers that hold memory; yield port and pid."""
    command = [sys.executable, "-c", program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as master:
        assert master.stdout is not None
        assert master.stdin is not None
        yield int(master.stdout.readline()), master.pid
        master.stdin.close()


def test_who_listens_counts_with_all_that_it_has_started() -> None:
    with application() as (port, pid):
        used_bytes = ApplicationMemory(frozenset({port})).used_bytes()
        alone_bytes = psutil.Process(pid).memory_info().rss
        assert used_bytes is not None
        assert used_bytes > alone_bytes + 50 * MIB - 8 * MIB


def test_workers_that_have_the_socket_of_their_master_count_all() -> None:
    """As those of gunicorn, uWSGI and nginx do."""
    with application(FORKING) as (port, pid):
        used_bytes = ApplicationMemory(frozenset({port})).used_bytes()
        assert used_bytes is not None
        assert used_bytes > psutil.Process(pid).memory_info().rss + 3 * 30 * MIB


def test_one_that_dies_and_comes_again_is_found_again() -> None:
    with application() as (port, _):
        looked_at = ApplicationMemory(frozenset({port}))
        assert looked_at.used_bytes()
    assert looked_at.used_bytes() is None
    with application() as (other_port, _):
        looked_at = ApplicationMemory(frozenset({port, other_port}))
        assert looked_at.used_bytes()


def test_nobody_is_seen_where_nobody_listens() -> None:
    """Not even other processes of this machine: it is no pod."""
    looked_at = ApplicationMemory(frozenset({1}))
    assert looked_at.used_bytes() is None
    assert looked_at.limit_bytes() is None


def test_in_one_cgroup_our_limit_is_its_limit(tmp_path: Path) -> None:
    own = cgroup_of(tmp_path, {"memory.max": str(7 * MIB)})
    with application() as (port, _):
        assert ApplicationMemory(frozenset({port}), own).limit_bytes() == 7 * MIB


def test_all_others_count_where_it_is_not_seen_who_listens() -> None:
    with application() as (_, pid):
        looked_at = ApplicationMemory(frozenset({1}), others=lambda: [pid])
        assert looked_at.used_bytes()


@pytest.mark.skipif(not CAN_UNSHARE, reason="needs root and unshare")
def test_in_a_pod_with_one_process_namespace_all_others_are_seen(
    tmp_path: Path,
) -> None:
    pause = tmp_path / "pause"  # Process 1, as in a pod, by its name.
    shutil.copy(str(shutil.which("sh")), pause)
    program = (
        "from sidecar.health.memory import ApplicationMemory\n"
        "print(ApplicationMemory(frozenset({1})).used_bytes())"
    )
    inside = f"sleep 1000 & {sys.executable} -c '{program}'; exit"
    done = subprocess.run(
        [
            *("unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(str(pause), "-c", inside),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert int(done.stdout) > 0
