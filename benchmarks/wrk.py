"""The load: wrk, on one thread, with a bounded number of seconds."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.processes import HOST, end, pinned

if TYPE_CHECKING:
    from pathlib import Path

CONNECTIONS = 32

_POST = """wrk.method = "POST"
wrk.body = string.rep("x", {bytes})
wrk.headers["Content-Type"] = "application/octet-stream"
"""
# As an instrumented caller sends them: no head comes twice, so none is remembered.
_TRACED = """local n = 0
local fixed = {["User-Agent"] = "python-httpx/0.28", ["Accept"] = "*/*",
  ["Accept-Encoding"] = "gzip, deflate, br", ["Content-Type"] = "application/json"}
request = function()
  n = n + 1
  fixed["traceparent"] = string.format("00-%032x-%016x-00", n, n)
  fixed["x-request-id"] = string.format("%08x-91c2-4d0e-8f3a-1b2c3d4e5f60", n)
  fixed["Authorization"] = "Bearer eyJhbGciOiJIUzI1NiJ9." .. n
  return wrk.format("GET", "/orders/" .. n, fixed)
end
"""
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_GRACE_S = 15  # For wrk to end by itself; beyond that it hangs.


class LoadError(Exception):
    """wrk could not be run, or told nothing that can be read."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for, over and over."""

    name: str  # As in the measurements of the plan.
    title: str
    path: str = "/"
    body_bytes: int = 0  # More than none makes it a POST.
    is_traced: bool = False  # Each head has ids of its own.


@dataclass(frozen=True, slots=True)
class Counted:
    """What wrk saw in one round."""

    requests: int
    duration_s: float
    p50_s: float
    p99_s: float
    errors: int  # Answers that are no success, and those that never came.


def missing() -> str:
    """Return why there can be no load; empty when there can."""
    return "" if shutil.which("wrk") else "wrk is not installed (apt-get install wrk)"


def run(
    load: Load,
    port: int,
    *,
    seconds: int,
    core: int,
    folder: Path,
    connections: int = CONNECTIONS,
) -> Counted:
    """Load `port` for some seconds from `core`.

    Raises:
        LoadError: wrk failed.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if load.body_bytes or load.is_traced:
        script = folder / f"{load.name}.lua"
        text = _TRACED if load.is_traced else _POST.format(bytes=load.body_bytes)
        script.write_text(text)
        command += ["-s", str(script)]
    url = f"http://{HOST}:{port}{load.path}"
    return parse(_output([*pinned(core), *command, url], seconds + _GRACE_S))


def parse(output: str) -> Counted:
    """Return what the output of `wrk --latency` tells.

    Raises:
        LoadError: It is not one.
    """
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", output)
    if total is None:
        msg = f"no count in the output of wrk: {output.strip()[-160:]!r}"
        raise LoadError(msg)
    return Counted(
        requests=int(total[1]),
        duration_s=float(total[2]) * _UNITS_S[total[3]],
        p50_s=_percentile_s(output, 50),
        p99_s=_percentile_s(output, 99),
        errors=_errors(output),
    )


def _percentile_s(output: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)$", output, re.MULTILINE)
    return float(found[1]) * _UNITS_S[found[2]] if found else 0.0


def _errors(output: str) -> int:
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output
    )
    counts = (refused.groups() if refused else ()) + (broken.groups() if broken else ())
    return sum(int(count) for count in counts)


def _output(command: list[str], limit_s: float) -> str:
    """Run wrk to its end; like every child, it does not outlive us."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        msg = f"wrk was still running after {limit_s} s"
        raise LoadError(msg) from error
    finally:
        end(process)
    return output.decode(errors="replace")
