"""A pod whose connections are redirected, and what a sidecar there goes by."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from sidecar.kube.rules import Format
from tests.kube.network import Network, network, why_not
from tests.kube.programs import folder_for_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
inbound: {listen: "[::]:15006"}
outbound: {listen: "[::]:15001"}
upstreams: {app: {original_destination: true}}
routes:
  - {name: all, upstream: app, response_headers: {set: {x-route: all}}}
  - name: web
    listener: outbound
    hosts: [web.example]
    upstream: app
    response_headers: {set: {x-route: web}}
  - name: here
    listener: outbound
    destinations: [":8081"]
    upstream: app
    response_headers: {set: {x-route: here}}
drain: {lead: 0s, grace: 2s}  # What is beside it may not end first.
"""


@pytest.fixture
def net() -> Iterator[Network]:
    if reason := why_not(Format.NFT):
        pytest.skip(reason)
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    with network() as net:
        net.iptables("--apply", "--format", "nft", "--outbound")
        yield net


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_for_all() as folder:
        yield folder


@pytest.fixture
def config(folder: Path) -> str:
    path = folder / "sidecar.yaml"
    path.write_text(CONFIG, "utf-8")
    return str(path)
