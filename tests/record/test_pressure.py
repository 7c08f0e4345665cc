"""Own resources that run short are told once, and again after they eased."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from sidecar.record.pressure import Pressure
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime
from tests.support.clock import FakeClock
from tests.support.outcomes import snapshot

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

LIMIT = 100


def test_told_above_80_percent_and_again_only_after_70() -> None:
    pressure = Pressure()
    used = [80, 81, 95, 75, 90, 69, 81]
    told = [pressure.rises("memory", now, LIMIT) for now in used]
    assert told == [False, True, False, False, False, False, True]


def test_it_stays_high_until_it_has_eased() -> None:
    pressure = Pressure()
    states = []
    for now in (81, 75, 69):
        pressure.rises("memory", now, LIMIT)
        states.append(pressure.is_high("memory"))
    assert states == [True, True, False]


def test_without_a_limit_nothing_runs_short() -> None:
    assert not Pressure().rises("memory", 1 << 40, None)


def of_five(configured: Snapshot) -> Snapshot:
    """Return it with a pool of five connections."""
    app = replace(configured.upstreams["app"], max_connections=5)
    return replace(configured, upstreams={"app": app})


def runtime() -> Runtime:
    configured, clock = of_five(snapshot()), FakeClock()
    recorder = Recorder(configured, clock)
    return Runtime(configured, clock, Random(1), recorder)


def test_a_pool_nearly_used_up_is_named() -> None:
    at_work = runtime()
    endpoint = at_work.upstreams["app"].pool.endpoints[0]
    pressure = Pressure()
    endpoint.busy = 4
    assert list(pressure.look(at_work, 1, None)) == []
    endpoint.busy = 5
    [(spec, upstream, detail)] = pressure.look(at_work, 1, None)
    assert (spec.code, upstream) == ("316-POOL-PRESSURE", "app")
    assert detail == "5 of 5 connections are busy"


def test_memory_over_its_limit_is_told() -> None:
    [(spec, upstream, detail)] = Pressure().look(None, 900, 1000)
    assert (spec.code, upstream) == ("316-MEM-PRESSURE", "")
    assert detail == "900 bytes resident, the limit is 1000"
