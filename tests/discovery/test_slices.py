"""EndpointSlices of a Service become the endpoints in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.discovery.choice import Candidate, usable
from sidecar.discovery.slices import PortError, part_of, put_together
from tests.discovery.slice_samples import ADMIN, HTTP, endpoint, endpoint_slice


def candidates(slices: list[dict[str, Any]], port: int | str | None) -> list[Candidate]:
    return put_together([part_of(each, port) for each in slices], port)


def names(slices: list[dict[str, Any]], port: int | str | None = None) -> list[str]:
    return [str(one.address) for one in candidates(slices, port)]


def test_slices_of_a_service_are_put_together() -> None:
    slices = [
        endpoint_slice("one", endpoint("10.0.0.1"), endpoint("10.0.0.2")),
        endpoint_slice("two", endpoint("10.0.0.3")),
    ]
    assert names(slices) == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]


def test_an_address_in_two_slices_is_one_endpoint_and_ready_if_either_says_so() -> None:
    ready = endpoint_slice("one", endpoint("10.0.0.1"))
    not_ready = endpoint_slice("two", endpoint("10.0.0.1", ready=False))
    for slices in ([ready, not_ready], [not_ready, ready]):
        (found,) = candidates(slices, None)
        assert found.is_ready


@pytest.mark.parametrize("port", ["admin", 9090])
def test_a_port_is_chosen_by_name_or_by_its_number_in_the_pods(port: int | str) -> None:
    each = endpoint_slice("one", endpoint("10.0.0.1"), ports=(HTTP, ADMIN))
    assert names([each], port) == ["10.0.0.1:9090"]


def test_a_named_port_may_have_another_number_in_each_slice() -> None:
    """As while a Deployment moves to another port."""
    slices = [
        endpoint_slice("one", endpoint("10.0.0.1")),
        endpoint_slice("two", endpoint("10.0.0.2"), ports=({**HTTP, "port": 8081},)),
    ]
    assert names(slices, "http") == ["10.0.0.1:8080", "10.0.0.2:8081"]


def test_a_port_that_is_not_there_is_told_with_those_that_are() -> None:
    each = endpoint_slice("one", endpoint("10.0.0.1"), ports=(HTTP, ADMIN))
    with pytest.raises(PortError, match=r"no port htp .*admin \(9090\), http \(8080\)"):
        candidates([each], "htp")
    with pytest.raises(PortError, match=r"set kubernetes\.port"):
        candidates([each], None)


def test_an_empty_service_is_no_mistake() -> None:
    """Scaled to zero, its slice has neither endpoints nor ports."""
    empty = {**endpoint_slice("one"), "ports": None, "endpoints": None}
    assert names([empty], "http") == []
    assert names([], "http") == []


def test_ports_of_udp_are_no_ports() -> None:
    dns = {"name": "dns", "port": 53, "protocol": "UDP"}
    each = endpoint_slice("one", endpoint("10.0.0.1"), ports=(dns, HTTP))
    assert names([each]) == ["10.0.0.1:8080"]


def test_of_two_families_the_first_with_a_usable_endpoint_is_used() -> None:
    """They are the same pods twice."""
    six = endpoint_slice("six", endpoint("fd00::1"), family="IPv6")
    four = endpoint_slice("four", endpoint("10.0.0.1"))
    broken = endpoint_slice("four", endpoint("10.0.0.1", ready=False, serving=False))
    assert names([six, four]) == ["10.0.0.1:8080"]
    assert names([six, broken]) == ["[fd00::1]:8080"]
    assert names([six]) == ["[fd00::1]:8080"]


def test_what_is_not_said_of_a_condition_means_ready() -> None:
    each = endpoint_slice("one", {"addresses": ["10.0.0.1"]})
    (found,) = candidates([each], None)
    assert (found.is_ready, found.is_serving, found.is_terminating) == (
        True,
        True,
        False,
    )


def test_serving_follows_ready_if_it_is_not_said() -> None:
    gone = endpoint("10.0.0.1", ready=False, serving=None, terminating=True)
    assert usable(candidates([endpoint_slice("one", gone)], None), None) == ()


def test_hints_are_read() -> None:
    slices = [
        endpoint_slice("one", endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "b"))
    ]
    (used,) = usable(candidates(slices, None), "b")
    assert used.host == "10.0.0.2"


hosts = st.integers(1, 6).map("10.0.0.{}".format)
endpoints = st.builds(endpoint, hosts, ready=st.none() | st.booleans())
slices = st.builds(endpoint_slice, st.just("any"), endpoints, endpoints)


@given(st.lists(slices), st.randoms())
def test_the_order_of_slices_does_not_matter(
    each: list[dict[str, Any]], chance: Any
) -> None:
    shuffled = [*each]
    chance.shuffle(shuffled)
    before = {(c.address, c.is_ready) for c in candidates(each, "http")}
    assert {(c.address, c.is_ready) for c in candidates(shuffled, "http")} == before
