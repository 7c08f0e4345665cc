"""What the tests of interception make is gone afterwards, also when they fail."""

from __future__ import annotations

import pytest

from sidecar.kube.rules import Format
from tests.kube.network import populated, run, why_not


def test_a_network_is_removed_when_its_test_fails() -> None:
    if reason := why_not(Format.IPTABLES) and why_not(Format.NFT):
        pytest.skip(reason)
    names: list[str] = []

    def fail() -> None:
        with populated() as net:
            names.extend((net.client, net.pod))
            listed = run("ip", "netns", "list")
            assert all(name in listed for name in names)
            msg = "as a test"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="as a test"):
        fail()
    listed = run("ip", "netns", "list")
    assert names
    assert not any(name in listed for name in names)
