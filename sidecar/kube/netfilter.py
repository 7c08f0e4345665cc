"""Puts the rules into the kernel, by the tools that come with the system.

Each family's rules come or go in one step: iptables-restore and `nft -f` commit all
they read, or nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.kube.rules import (
    Family,
    Format,
    Interception,
    iptables_removal,
    iptables_text,
    nft_removal,
    nft_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PREFIXES = {Family.IPV4: "iptables", Family.IPV6: "ip6tables"}
_PATIENCE_S = 30  # Of a tool, also for the lock that others of its kind hold.
_REFUSED = re.compile("Permission denied|Operation not permitted")
_UNKNOWN_HERE = re.compile("does not exist|not supported")
_NET_ADMIN_BIT = 12  # See capabilities(7).
_IPV6_ADDRESSES = Path("/proc/net/if_inet6")  # Only where the kernel has IPv6.


class NetfilterError(Exception):
    """The rules could not be changed; the text says why, and what to do."""


class UnavailableError(NetfilterError):
    """What would be changed does not exist here: the tool, or what it speaks to."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done."""

    format: Format
    families: tuple[Family, ...]
    notes: tuple[str, ...]  # What was left out, and why.


def apply(
    interception: Interception, families: Sequence[Family], wanted: Format | None
) -> Applied:
    """Make the rules so, whatever an earlier call has made.

    Args:
        interception: What to intercept.
        families: Of two, IPv6 is left out where this system has none.
        wanted: By which tool; None: by the first that is there.

    Raises:
        NetfilterError: Nothing was changed; or, if the kernel takes back its word
            between test and change, one family was.
    """
    tool = wanted or _first_tool()
    texts, notes = {}, []
    for family in families:
        try:
            texts[family] = _tested(tool, family, interception)
        except UnavailableError as error:
            if family is not Family.IPV6 or len(families) == 1:
                raise
            notes.append(f"{family.label} is left out: {error}")
    for family, text in texts.items():
        _change(tool, family, text)
    # The rules of an earlier call by the other tool would hold beside these.
    for other in _tools_present():
        if other is tool:
            continue
        try:
            _remove_what_is_there(other, families)
        except NetfilterError as error:  # What was asked for is done all the same.
            notes.append(f"rules by {other.value}, if there are any, stay: {error}")
    return Applied(tool, tuple(texts), tuple(notes))


def remove(families: Iterable[Family], wanted: Format | None) -> None:
    """Remove all that any earlier call has made; nothing there is fine.

    Args:
        families: Of which rules.
        wanted: Made by which tool; None: by any.

    Raises:
        NetfilterError: Something is left.
    """
    tools = [wanted] if wanted else _tools_present()
    if not tools:
        raise _no_tool()
    for tool in tools:
        if wanted:
            _program(_programs(tool, Family.IPV4)[0])
        _remove_what_is_there(tool, families)


def _tested(tool: Format, family: Family, interception: Interception) -> str:
    """Return the text that makes the rules so; the kernel has been asked."""
    if family is Family.IPV6 and not _IPV6_ADDRESSES.exists():
        msg = "this kernel has it switched off"
        raise UnavailableError(msg)
    if tool is Format.NFT:
        text = nft_text(interception, family)
        _run(["nft", "--check", "-f", "-"], text)
    else:
        text = iptables_text(interception, family, _saved(family))
        _run([f"{_PREFIXES[family]}-restore", "--noflush", "--test"], text)
    return text


def _change(tool: Format, family: Family, text: str) -> None:
    if tool is Format.NFT:
        _run(["nft", "-f", "-"], text)
    else:
        wait = f"--wait={_PATIENCE_S}"  # Else another call at the same time fails it.
        _run([f"{_PREFIXES[family]}-restore", "--noflush", wait], text)


def _remove_what_is_there(tool: Format, families: Iterable[Family]) -> None:
    for family in families:
        try:
            if tool is Format.NFT:
                _change(tool, family, nft_removal(family))
            elif text := iptables_removal(_saved(family)):
                _change(tool, family, text)
        except UnavailableError:
            continue  # Where no rules can be, there are none.


def _saved(family: Family) -> str:
    return _run([f"{_PREFIXES[family]}-save", "-t", "nat"])


# The tools.


def _programs(tool: Format, family: Family) -> list[str]:
    if tool is Format.NFT:
        return ["nft"]
    return [f"{_PREFIXES[family]}-restore", f"{_PREFIXES[family]}-save"]


def _tools_present() -> list[Format]:
    return [
        tool
        for tool in Format
        if all(shutil.which(name) for name in _programs(tool, Family.IPV4))
    ]


def _first_tool() -> Format:
    for tool in _tools_present():
        return tool
    raise _no_tool()


def _no_tool() -> NetfilterError:
    return NetfilterError(
        "neither iptables-restore nor nft is on the PATH; install the package "
        "iptables or nftables (apt-get install iptables)"
    )


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = "nftables" if name == "nft" else "iptables"
        msg = f"{name} is not on the PATH; install the package {package}"
        raise UnavailableError(msg)
    return path


def _run(command: list[str], text: str = "") -> str:
    """Return what a tool prints.

    Raises:
        NetfilterError: It failed.
    """
    name, *arguments = command
    try:
        done = subprocess.run(  # noqa: S603 - a tool's name, and options of ours
            [_program(name), *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * _PATIENCE_S,
            env=os.environ | {"LC_ALL": "C"},  # Its words are looked at.
        )
    except subprocess.TimeoutExpired:
        msg = f"{name} has not ended within {2 * _PATIENCE_S} s; is it stuck?"
        raise NetfilterError(msg) from None
    if done.returncode:
        raise _failure(name, " ".join(done.stderr.split()))
    return done.stdout


def _failure(name: str, words: str) -> NetfilterError:
    if not _has_net_admin() or _REFUSED.search(words):
        return NetfilterError(
            "the kernel does not let this process change rules: it needs root's user "
            "id and the capability NET_ADMIN (in a pod: securityContext: {runAsUser: "
            f"0, capabilities: {{add: [NET_ADMIN]}}}}); {name} said: {words}"
        )
    if _UNKNOWN_HERE.search(words):
        return UnavailableError(f"the kernel lacks what {name} asks for: {words}")
    return NetfilterError(f"{name} failed: {words}")


def _has_net_admin() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> _NET_ADMIN_BIT & 1)
