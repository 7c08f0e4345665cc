"""Whatever is asked, the tools accept it; told in a namespace that stays empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.kube.rules import Family, Format, Interception, iptables_text, nft_text
from tests.kube.network import inside, namespace, run, why_not
from tests.kube.rule_settings import interceptions

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=list(Format), ids=lambda tool: tool.value)
def place(request: pytest.FixtureRequest) -> Iterator[tuple[Format, str]]:
    if reason := why_not(request.param):
        pytest.skip(reason)
    with namespace() as name:
        yield request.param, name


@settings(max_examples=40, deadline=None)  # Each starts a process.
@given(interceptions(), st.sampled_from(Family))
def test_every_text_is_accepted(
    place: tuple[Format, str], wanted: Interception, family: Family
) -> None:
    tool, name = place
    if tool is Format.NFT:
        command, text = ["nft", "-c", "-f", "-"], nft_text(wanted, family)
    else:
        word = "iptables" if family is Family.IPV4 else "ip6tables"
        command = [f"{word}-restore", "--noflush", "--test"]
        text = iptables_text(wanted, family)
    inside(name, lambda: run(*command, text=text))
