"""The command: ``python -m benchmarks``.

For example ``python -m benchmarks --quick --only get nginx sidecar``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import (
    backpressure,
    contest,
    fault_storm_traffic,
    overload,
    pages,
    startup,
    stream,
)
from benchmarks.machine import machine
from benchmarks.plan import MEASUREMENTS, OURS, PROXIES, Plan, make_plan
from benchmarks.processes import NEEDED_TOOLS, ROOT, StartError
from benchmarks.report import (
    Figure,
    Report,
    absences,
    as_json,
    contest_table,
    cpu_figures,
    figure_table,
    idle_figures,
)
from benchmarks.wrk import CONNECTIONS, LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INTERRUPTED = 130  # As shells have it: 128 + SIGINT.


def main() -> int:
    """Measure, print, write, draw; return the exit code."""
    arguments = _parsed()
    if absent := [tool for tool in NEEDED_TOOLS if not shutil.which(tool)]:
        print(f"needs {' and '.join(absent)} (apt-get install util-linux)")
        return 1
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        with _run_folder() as folder:
            report, points = _measured(arguments, folder)
    except KeyboardInterrupt:
        print("\ninterrupted; every process that was started has been ended")
        return _INTERRUPTED
    _print(report)
    if points:
        print(f"\n{overload.table(points)}")
    _write(report, points, arguments)
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description="Compare this proxy with others, side by side.",
        epilog="example: python -m benchmarks --quick --only get nginx sidecar",
    )
    parser.add_argument(
        "--seconds", type=_whole_seconds, default=2, help="of one round (default: 2)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=(*MEASUREMENTS, *PROXIES),
        help=f"measurements ({', '.join(MEASUREMENTS)}), proxies "
        f"({', '.join(PROXIES)}), or some of both",
    )
    parser.add_argument(
        "--quick", action="store_true", help="rounds of 1 s, few of them: a trial"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="folder for bench.json, bench.png and overload.* (default: docs, for a "
        "whole run and for overload alone; none, for a trial or another part)",
    )
    arguments = parser.parse_args()
    is_whole = not arguments.quick and arguments.only in ([], ["overload"])
    arguments.out = arguments.out or (ROOT / "docs" if is_whole else None)
    return arguments


def _whole_seconds(text: str) -> int:
    seconds = int(text)
    if not 1 <= seconds <= 60:  # noqa: PLR2004 - a load is bounded
        msg = "1 to 60"
        raise argparse.ArgumentTypeError(msg)
    return seconds


@contextmanager
def _run_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="sidecar-bench-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _measured(
    arguments: argparse.Namespace, folder: Path
) -> tuple[Report, list[overload.Point]]:
    plan = make_plan(
        folder, arguments.only, seconds=arguments.seconds, is_quick=arguments.quick
    )
    _pin_here(plan)
    report = Report(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        settings=_settings(plan),
    )
    try:
        report.rows.extend(contest.run(plan))
    except (StartError, LoadError) as error:
        print(f"no contest: {error}")
    if "get" in plan.measurements:
        first = contest.LOADS[0].title
        report.figures.extend(cpu_figures(report.rows, first, OURS))
        report.figures.extend(idle_figures(report.rows, first, OURS))
    for name, measure in _others(plan).items():
        if name in plan.measurements:
            report.figures.extend(_tried(name, measure))
    points: list[overload.Point] = []
    if "overload" in plan.measurements:
        report.figures.extend(_tried("overload", lambda: _overload(plan, points)))
    return report, points


def _overload(plan: Plan, points: list[overload.Point]) -> list[Figure]:
    points += overload.run(plan)
    return overload.figures(points)


def _pin_here(plan: Plan) -> None:
    """Stay off the proxy's core; the load has its own child processes."""
    os.sched_setaffinity(0, {plan.load_core})
    if plan.load_core == plan.proxy_core:
        print("one core only: proxy, load and origin share it")


def _others(plan: Plan) -> dict[str, Callable[[], list[Figure]]]:
    return {
        "stream": lambda: stream.run(plan),
        "backpressure": lambda: backpressure.run(plan),
        "startup": lambda: startup.run(plan),
        "policy": _policy_cost,
        "faults": lambda: [*_fault_storm(), *fault_storm_traffic.run(plan)],
        "routes": _route_cost,
    }


def _fault_storm() -> list[Figure]:
    from benchmarks import fault_storm  # noqa: PLC0415 - the rest runs without it

    return fault_storm.run()


def _policy_cost() -> list[Figure]:
    from benchmarks import policy_cost  # noqa: PLC0415 - the rest runs without it

    return policy_cost.run()


def _route_cost() -> list[Figure]:
    from benchmarks import route_cost  # noqa: PLC0415 - the rest runs without it

    return route_cost.run()


def _tried(name: str, measure: Callable[[], list[Figure]]) -> list[Figure]:
    """Measure; what cannot be measured says why, and the run goes on.

    So it does with a mistake in a measurement: minutes of others would be lost.
    """
    print(f"{name} …", flush=True)
    try:
        return measure()
    except (ImportError, StartError, OSError) as error:
        return [Figure(name, None, "", note=str(error))]
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        return [Figure(name, None, "", note=f"a bug: {error!r}")]


def _settings(plan: Plan) -> dict[str, object]:
    return {
        "connections": CONNECTIONS,
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "secondary_rounds": plan.secondary_rounds,
        "proxy_core": plan.proxy_core,
        "load_core": plan.load_core,
    }


def _print(report: Report) -> None:
    if report.rows:
        print(f"\n{contest_table(report.rows, OURS)}\n")
        for absence in absences(report.rows):
            print(f"absent: {absence}")
        print(
            "Medians over the rounds; the ratio is the median of each round's. "
            "Load and origin share\none core, so they bound requests/s and "
            "latency of the fastest; CPU per request is the proxy's alone."
        )
    if report.figures:
        print(f"\n{figure_table(report.figures)}")


def _write(
    report: Report, points: list[overload.Point], arguments: argparse.Namespace
) -> None:
    out: Path | None = arguments.out
    if out is None:
        print("\na trial or a part: nothing is written without --out")
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        if points:
            _write_overload(report, points, out)
        if arguments.only == ["overload"]:
            return
        text = json.dumps(as_json(report, OURS), indent=1, ensure_ascii=False)
        (out / "bench.json").write_text(text + "\n")
        _draw(report, out / "bench.png")
        if out == ROOT / "docs":
            pages.write(report, ROOT, OURS)
    except OSError as error:
        print(f"\ncannot write to {out}: {error}")


def _write_overload(report: Report, points: list[overload.Point], out: Path) -> None:
    found = overload.figures(points)
    told = {
        "made_at": report.made_at,
        "machine": report.machine,
        "deadline_ms": overload.DEADLINE_MS,
        "points": [asdict(point) for point in points],
    }
    (out / "overload.json").write_text(json.dumps(told, indent=1) + "\n")
    try:
        from benchmarks import overload_picture  # noqa: PLC0415 - slow to import
    except ImportError:
        print("\nno picture: matplotlib is not installed (pip install matplotlib)")
    else:
        overload_picture.draw(points, out / "overload.png")
    if out == ROOT / "docs":
        tables = f"{figure_table(found)}\n\n{overload.table(points)}"
        pages.write_overload(tables, ROOT)
    print(f"\nwritten: {out / 'overload.json'}, {out / 'overload.png'}")


def _draw(report: Report, path: Path) -> None:
    try:
        from benchmarks import picture  # noqa: PLC0415 - slow to import, may be absent
    except ImportError:
        print("\nno picture: matplotlib is not installed (pip install matplotlib)")
        return
    picture.draw(report, path, OURS)
    print(f"\nwritten: {path.with_suffix('.json')}, {path}")


if __name__ == "__main__":
    sys.exit(main())
