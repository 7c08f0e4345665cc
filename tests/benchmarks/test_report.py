from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import wrk
from benchmarks.plan import MEASUREMENTS, PROXIES, make_plan, pick_cores
from benchmarks.procfs import Memory, Stat, parse_memory, parse_stat, tree_of
from benchmarks.report import (
    DIRECT,
    TIMES,
    Figure,
    Report,
    Round,
    Row,
    absences,
    aligned,
    as_json,
    contest_table,
    cpu_figures,
    figure_table,
    idle_cpu_ratio,
    ratio,
)

LOAD = "GET"
OURS = "sidecar"
FOLDER = Path()  # A plan only names it.

WRK_OUTPUT = """Running 2s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   421.80us  203.32us   9.77ms   93.09%
    Req/Sec    75.91k     3.62k   80.22k    80.00%
  Latency Distribution
     50%  389.00us
     75%  452.00us
     90%    1.55ms
     99%    2.88ms
  151091 requests in 2.00s, 30.98MB read
Requests/sec:  75536.42
Transfer/sec:     15.49MB
"""
WRK_TROUBLE = """  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 50
"""


def a_round(cpu_us: float, *, requests: int = 1_000, errors: int = 0) -> Round:
    return Round(
        requests=requests,
        duration_s=2.0,
        cpu_s=cpu_us * requests / 1e6,
        p50_s=0.001,
        p99_s=0.002,
        resident_bytes=10 << 20,
        errors=errors,
    )


def a_row(proxy: str, *cpu_us: float, errors: int = 0) -> Row:
    rounds = tuple(a_round(each, errors=errors) for each in cpu_us)
    return Row(LOAD, proxy, "1.0", rounds)


def figures_of(*rows: Row) -> list[Figure]:
    return cpu_figures(rows, LOAD, OURS)


# What wrk prints.


def test_wrk_output_is_read() -> None:
    counted = wrk.parse(WRK_OUTPUT)
    assert (counted.requests, counted.duration_s, counted.errors) == (151_091, 2.0, 0)
    assert counted.p50_s == pytest.approx(0.000389)
    assert counted.p99_s == pytest.approx(0.00288)


def test_failed_requests_of_every_kind_count() -> None:
    assert wrk.parse(WRK_OUTPUT + WRK_TROUBLE).errors == 1 + 2 + 3 + 4 + 50


def test_a_latency_in_seconds_is_read() -> None:
    assert wrk.parse(WRK_OUTPUT.replace("2.88ms", "1.29s")).p99_s == 1.29


@pytest.mark.parametrize("output", ["", "unable to connect to 127.0.0.1:1\n"])
def test_no_count_is_an_error_and_not_a_zero(output: str) -> None:
    with pytest.raises(wrk.LoadError):
        wrk.parse(output)


# What /proc tells.


def a_stat(name: str) -> str:
    times = "250 50 3 1"  # User, system, and the same of children waited for.
    return f"4321 ({name}) S 99 4321 4321 0 -1 4194560 1 2 3 4 {times} 20 0 1 0 5"


@pytest.mark.parametrize("name", ["nginx", "a b", "a) S 1 (b", ")", ""])
def test_a_process_may_have_any_name(name: str) -> None:
    """The name is cut from what the process chose, brackets and blanks included."""
    assert parse_stat(a_stat(name)) == Stat(pid=4321, parent_pid=99, ticks=304)


def test_memory_is_read_in_bytes() -> None:
    text = "Name:\tnginx\nVmHWM:\t    9000 kB\nVmRSS:\t    8600 kB\nThreads:\t1\n"
    assert parse_memory(text) == Memory(8600 * 1024, 9000 * 1024)


def test_a_zombie_has_no_memory() -> None:
    assert parse_memory("Name:\tnginx\nState:\tZ (zombie)\n") == Memory(0, 0)


def test_the_tree_holds_children_of_children_and_nobody_else() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    assert tree_of(10, parents) == {10, 11, 12}


def test_a_process_that_has_ended_is_a_tree_of_its_own() -> None:
    assert tree_of(10, {1: 0}) == {10}


@given(st.dictionaries(st.integers(1, 30), st.integers(0, 30)))
def test_every_member_of_a_tree_but_its_root_has_its_parent_in_it(
    parents: dict[int, int],
) -> None:
    """And the search ends, even where a reading of /proc shows a circle."""
    tree = tree_of(1, parents)
    assert all(parents[member] in tree for member in tree - {1})


# Ratios.


def test_cpu_per_request_is_in_microseconds() -> None:
    assert Round(1_000, 2.0, 0.025, 0.0, 0.0, 0, 0).cpu_us == 25.0


def test_a_round_without_requests_costs_nothing_and_divides_by_nothing() -> None:
    empty = Round(0, 0.0, 0.5, 0.0, 0.0, 0, 0)
    assert (empty.cpu_us, empty.per_s) == (0.0, 0.0)


def test_the_ratio_is_taken_round_by_round() -> None:
    """A slow second round slows both, and so does not show."""
    assert ratio(a_row(OURS, 20, 60, 20), a_row("nginx", 10, 30, 10)) == 2.0


def test_one_disturbed_round_does_not_move_the_ratio() -> None:
    assert ratio(a_row(OURS, 20, 200, 20), a_row("nginx", 10, 10, 10)) == 2.0


def test_there_is_no_ratio_to_nobody() -> None:
    assert ratio(a_row(OURS, 20), None) is None
    assert ratio(a_row(OURS, 20), Row(LOAD, "nginx", "", (), "not installed")) is None


@given(st.lists(st.floats(1, 1_000), min_size=1, max_size=9))
def test_a_proxy_costs_once_itself(cpu_us: list[float]) -> None:
    row = a_row("nginx", *cpu_us)
    assert ratio(row, row) == 1.0


def test_work_put_off_until_others_have_the_load_shows() -> None:
    """Two rounds of 2 s took 0.2 s of CPU; 0.3 s more were used in 6 s of rest."""
    rounds = [a_round(100), a_round(100)]
    assert idle_cpu_ratio(rounds, 0.5, 10.0) == pytest.approx(0.05)


@given(st.floats(0, 100), st.floats(0, 100))
def test_rest_is_never_less_than_idle(used_s: float, elapsed_s: float) -> None:
    assert idle_cpu_ratio([a_round(100)], used_s, elapsed_s) >= 0.0


# Verdicts.


def test_both_targets_are_met() -> None:
    nginx, caddy = figures_of(a_row("nginx", 10), a_row("caddy", 50), a_row(OURS, 25))
    assert (nginx.value, nginx.verdict) == (2.5, "met")
    assert (caddy.value, caddy.verdict) == (0.5, "met")


def test_a_missed_target_stands_out() -> None:
    nginx, caddy = figures_of(a_row("nginx", 10), a_row("caddy", 30), a_row(OURS, 26))
    assert (nginx.verdict, caddy.verdict) == ("MISSED", "MISSED")


def test_without_the_peer_there_is_a_reason_and_no_verdict() -> None:
    absent = Row(LOAD, "caddy", "", (), "not installed (apt-get install caddy)")
    _, caddy = figures_of(a_row("nginx", 10), absent, a_row(OURS, 20))
    assert caddy.is_met is None
    assert caddy.verdict == "not measured: not installed (apt-get install caddy)"


def test_a_cheap_failure_meets_no_target() -> None:
    """Refusing every request costs little; it is no result."""
    nginx, _ = figures_of(a_row("nginx", 10), a_row(OURS, 5, errors=3))
    assert nginx.is_met is None
    assert nginx.verdict == "not measured: 3 requests failed"


def test_a_peer_that_failed_is_no_measure() -> None:
    nginx, _ = figures_of(a_row("nginx", 10, errors=1), a_row(OURS, 20))
    assert nginx.verdict == "not measured: 1 requests failed"


@pytest.mark.parametrize(
    ("is_limit_allowed", "target", "is_met"),
    [(True, "≤ 2 µs", True), (False, "< 2 µs", False)],
)
def test_the_limit_itself_counts_as_the_target_says(
    target: str, *, is_limit_allowed: bool, is_met: bool
) -> None:
    figure = Figure("cost", 2.0, "µs", 2.0, is_limit_allowed=is_limit_allowed)
    assert (figure.target, figure.is_met) == (target, is_met)


def test_a_figure_without_a_target_has_no_verdict() -> None:
    assert Figure("speed", 900.0, "MiB/s").verdict == ""


# The table and the JSON.


@pytest.fixture
def rows() -> list[Row]:
    return [
        Row(LOAD, DIRECT, "", (a_round(0),)),
        a_row("nginx", 10),
        Row(LOAD, "caddy", "", (), "not installed"),
        a_row(OURS, 20),
        Row("POST", OURS, "1.0", (a_round(400),)),
    ]


def cells_of(table: str, line: int) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[line].strip("|").split("|")]


def test_the_table_tells_cost_ratio_speed_latency_memory_and_verdict(
    rows: list[Row],
) -> None:
    assert cells_of(contest_table(rows, OURS), 5) == [
        LOAD,
        "sidecar 1.0",
        "20.0",
        "2.00",
        "500",
        "1.00",
        "2.00",
        "10.0",
        f"met ≤ 2.5 {TIMES} nginx",
    ]


def test_the_origin_alone_has_no_cost(rows: list[Row]) -> None:
    assert cells_of(contest_table(rows, OURS), 2)[2:4] == ["-", "-"]


def test_only_the_first_load_has_targets(rows: list[Row]) -> None:
    assert cells_of(contest_table(rows, OURS), 6)[-1] == ""


def test_the_absent_are_named_once_with_the_reason(rows: list[Row]) -> None:
    assert cells_of(contest_table(rows, OURS), 4)[-1] == "absent"
    assert absences([*rows, *rows]) == ["caddy: not installed"]


def test_failed_requests_take_the_place_of_a_verdict() -> None:
    table = contest_table([a_row("nginx", 10), a_row(OURS, 20, errors=2)], OURS)
    assert cells_of(table, 3)[-1] == "2 requests failed"


def test_a_figure_that_could_not_be_measured_has_a_dash_and_a_reason() -> None:
    table = figure_table([Figure("ready", None, "s", 0.7, note="it ended with 1")])
    assert cells_of(table, 2) == [
        "ready",
        "-",
        "≤ 0.7 s",
        "not measured: it ended with 1",
    ]


@given(
    st.lists(st.lists(st.text("ab µ", max_size=9), min_size=3, max_size=3), min_size=1)
)
def test_every_line_of_a_table_is_as_long_as_the_others(cells: list[list[str]]) -> None:
    lines = aligned(cells, left=(0,)).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == len(cells) + 1


def test_the_report_becomes_json_with_every_round(rows: list[Row]) -> None:
    report = Report("2030-01-01T00:00:00+00:00", {}, {}, rows, figures_of(*rows))
    data = json.loads(json.dumps(as_json(report, OURS)))
    mine = next(row for row in data["rows"] if row["proxy"] == OURS)
    assert mine["cpu_us"] == pytest.approx(20.0)
    assert mine["cpu_ratio_to_nginx"] == pytest.approx(2.0)
    assert len(mine["rounds"]) == 1
    assert [figure["is_met"] for figure in data["figures"]] == [True, None]


# The plan.


def test_load_and_proxy_have_a_core_each_where_there_are_two() -> None:
    assert pick_cores({0, 1}) == (0, 1)
    assert pick_cores({2, 3, 7}) == (2, 7)


def test_one_core_is_shared() -> None:
    assert pick_cores({5}) == (5, 5)


@pytest.mark.parametrize(
    ("only", "measurements", "proxies"),
    [
        ((), MEASUREMENTS, PROXIES),
        (("get",), ("get",), PROXIES),
        (("sidecar", "nginx"), MEASUREMENTS, ("nginx", "sidecar")),
        (("post", "caddy"), ("post",), ("caddy",)),
    ],
)
def test_only_narrows_the_kinds_that_it_names(
    only: tuple[str, ...], measurements: tuple[str, ...], proxies: tuple[str, ...]
) -> None:
    plan = make_plan(FOLDER, only, seconds=2, is_quick=False)
    assert (plan.measurements, plan.proxies) == (frozenset(measurements), proxies)


def test_a_figure_of_one_proxy_is_ours_unless_others_are_named() -> None:
    assert make_plan(FOLDER, (), seconds=1, is_quick=True).alone == (OURS,)
    assert make_plan(FOLDER, ("nginx",), seconds=1, is_quick=True).alone == ("nginx",)
