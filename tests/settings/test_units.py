"""Units: what people write, read and written back."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings.snapshot import Address
from sidecar.settings.units import (
    format_duration,
    format_size,
    parse_address,
    parse_duration,
    parse_endpoint,
    parse_network,
    parse_port,
    parse_port_range,
    parse_positive_duration,
    parse_ratio,
    parse_size,
    parse_time_limit,
    parse_user_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_duration, "0s", 0.0),
        (parse_duration, "250ms", 0.25),
        (parse_duration, "1m30s", 90.0),
        (parse_duration, "1h1ms", 3600.001),
        (parse_time_limit, "off", "off"),
        (parse_time_limit, "0s", "off"),
        (parse_time_limit, "2s", 2.0),
        (parse_positive_duration, "1ms", 0.001),
        (parse_size, "0", 0),
        (parse_size, 7, 7),
        (parse_size, "64KiB", 65536),
        (parse_size, "1GiB", 1024**3),
        (parse_ratio, "20%", 0.2),
        (parse_ratio, 1, 1.0),
        (parse_ratio, "0.5%", 0.005),
        (parse_address, "127.0.0.1:0", Address("127.0.0.1", 0)),
        (parse_address, "[::1]:80", Address("::1", 80)),
        (parse_address, "my_app.shop.svc:80", Address("my_app.shop.svc", 80)),
        (parse_endpoint, "app:65535", Address("app", 65535)),
        (parse_port, "8080", 8080),
        (parse_port_range, "65535", range(65535, 65536)),
        (parse_port_range, "9000-9010", range(9000, 9011)),
        (parse_network, "10.0.0.0/8", ip_network("10.0.0.0/8")),
        (parse_network, "192.0.2.7", ip_network("192.0.2.7/32")),
        (parse_network, "fd00::/8", ip_network("fd00::/8")),
        (parse_user_id, "0", 0),
        (parse_user_id, "4294967294", 2**32 - 2),
    ],
)
def test_what_is_written_is_meant(
    parse: Callable[[Any], object], text: object, value: object
) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "bad"),
    [
        (
            parse_duration,
            ["", "1", 1, 1.5, "1.5s", "-1s", "1 s", "1d", "s", None, "1s\n"],
        ),
        (parse_positive_duration, ["0s", "0ms", "off"]),
        (parse_size, ["", "1KB", "-1", -1, 1.5, True, None, "1 KiB"]),
        (parse_ratio, ["101%", 1.1, -0.1, "0.2", True, None, float("nan"), "%"]),
        (
            parse_address,
            ["", "a", ":1", "a:", "a:65536", "::1:80", "1.2.3:80", "[a]:1"],
        ),
        (parse_address, ["1.2.3.256:80", "-a:80", "a..b:80", "http://a:80", 80, None]),
        (parse_endpoint, ["127.0.0.1:0"]),
        (parse_port, ["", "0", "65536", "80-90", "http", "-1", 80, None]),
        (parse_port_range, ["", "0-9", "9-1", "1-65536", "1-", "-1", "1:2", " 1"]),
        (parse_network, ["", "10.0.0.1/8", "fe80::1%eth0", "a", "10.0.0/8", 10, None]),
        (parse_user_id, ["", "-1", "root", "4294967295", "1 ", 1, None]),
    ],
)
def test_anything_else_is_refused(
    parse: Callable[[Any], object], bad: list[object]
) -> None:
    for value in bad:
        with pytest.raises(ValueError, match=r"is not|must be|has port 0"):
            parse(value)


def test_a_bare_number_is_told_that_its_unit_is_missing() -> None:
    with pytest.raises(ValueError, match="its unit is missing, as in 5s"):
        parse_duration(5)


def test_an_address_with_a_mask_is_told_its_network() -> None:
    with pytest.raises(ValueError, match=r"of this address is 10\.0\.0\.0/8"):
        parse_network("10.1.2.3/8")


@given(st.integers(min_value=0, max_value=86_400_000))
def test_a_duration_written_is_read_back(milliseconds: int) -> None:
    """To the millisecond, over a day."""
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=2**40))
def test_a_size_written_is_read_back(size: int) -> None:
    assert parse_size(format_size(size)) == size
