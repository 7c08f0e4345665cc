"""The command that repeats a request: what a shell makes of it, and what is missing."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.admin.repeat import repeated
from sidecar.settings.load import from_upstream

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Route

ADDRESSES = {"inbound": ("127.0.0.1", 15006), "outbound": ("0.0.0.0", 15001)}


def route(*hosts: str) -> Route:
    [found] = from_upstream("127.0.0.1:8080").snapshot.routes
    return replace(found, hosts=hosts)


def record(**fields: Any) -> dict[str, Any]:
    plain = {"listener": "inbound", "method": "GET", "path_template": "/orders/*"}
    return plain | fields


@pytest.mark.parametrize(
    ("fields", "hosts", "command"),
    [
        ({}, (), "curl -i http://127.0.0.1:15006/orders/"),
        ({"path_template": "/*"}, ("*",), "curl -i http://127.0.0.1:15006/"),
        (
            {"method": "POST"},
            ("shop.example",),
            "curl -i -X POST -H 'Host: shop.example' --data @BODY"
            " http://127.0.0.1:15006/orders/",
        ),
        (
            {"listener": "outbound", "method": "HEAD"},
            ("*.example",),
            "curl -i --head -H 'Host: any.example' http://127.0.0.1:15001/orders/",
        ),
        (
            {"path_template": r"/orders/[0-9]+$"},
            (),
            "curl -i http://127.0.0.1:15006/orders/",
        ),
        ({"path_template": r"^/a|b"}, (), "curl -i http://127.0.0.1:15006/"),
    ],
)
def test_it_is_a_line_for_a_shell(
    fields: dict[str, str], hosts: tuple[str, ...], command: str
) -> None:
    assert repeated(record(**fields), ADDRESSES, route(*hosts)) == command


@pytest.mark.parametrize("fields", [{"listener": ""}, {"method": ""}])
def test_what_was_no_request_cannot_be_repeated(fields: dict[str, str]) -> None:
    assert repeated(record(**fields), ADDRESSES, None) is None


def test_an_ipv6_address_stands_in_brackets() -> None:
    found = repeated(record(), {"inbound": ("::", 80)}, None)
    assert found == "curl -i 'http://[::1]:80/orders/'"


def test_no_method_of_a_client_gets_out_of_its_word() -> None:
    method = "GET;rm -rf $(HOME)"
    found = repeated(record(method=method), ADDRESSES, None) or ""
    assert shlex.split(found)[:4] == ["curl", "-i", "-X", method]
