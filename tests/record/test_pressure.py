"""Own resources that run short are told once, and again after they eased."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from sidecar.policy.overload import OverloadLimits
from sidecar.record.pressure import Pressure, Usage
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime
from tests.support.clock import FakeClock
from tests.support.outcomes import snapshot

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

NOTHING = Usage(1, None, 1, 1 << 31)


def pressure() -> Pressure:
    return Pressure(OverloadLimits())


def test_told_above_its_limit_and_again_only_a_tenth_below() -> None:
    memory = pressure()
    used = [0.8, 0.81, 0.95, 0.75, 0.9, 0.69, 0.81]
    told = [memory.rises("memory", now, 0.8) for now in used]
    assert told == [False, True, False, False, False, False, True]


def test_it_stays_high_until_it_has_eased() -> None:
    memory = pressure()
    states = []
    for now in (0.81, 0.75, 0.69):
        memory.rises("memory", now, 0.8)
        states.append(memory.is_high("memory"))
    assert states == [True, True, False]


def test_without_a_limit_nothing_runs_short() -> None:
    usage = Usage(1 << 40, None, 1 << 20, 1 << 31)
    assert usage.memory_ratio == 0.0
    assert list(pressure().look(None, usage)) == []


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
    watched = pressure()
    endpoint.busy = 4
    assert list(watched.look(at_work, NOTHING)) == []
    endpoint.busy = 5
    [(spec, upstream, detail)] = watched.look(at_work, NOTHING)
    assert (spec.code, upstream) == ("316-POOL-PRESSURE", "app")
    assert detail == "5 of 5 connections are busy"


def test_memory_over_its_limit_is_told() -> None:
    usage = Usage(500, 1000, 1, 1 << 31, kernel_bytes=400)
    [(spec, upstream, detail)] = pressure().look(None, usage)
    assert (spec.code, upstream) == ("316-MEM-PRESSURE", "")
    assert detail == (
        "500 bytes resident, 400 held by the kernel for it, the limit is 1000"
    )


def test_descriptors_over_their_limit_are_told() -> None:
    usage = Usage(1, None, 900, 1000)
    [(spec, upstream, detail)] = pressure().look(None, usage)
    assert (spec.code, upstream) == ("316-OVERLOAD", "")
    assert detail.startswith("900 of 1000 files are open; raise the limit")


def test_the_limits_are_those_of_the_configuration() -> None:
    watched = Pressure(OverloadLimits(memory_ratio=0.5, descriptor_ratio=0.95))
    usage = Usage(600, 1000, 900, 1000)
    assert [spec.code for spec, _, _ in watched.look(None, usage)] == [
        "316-MEM-PRESSURE"
    ]
