"""`sidecar iptables`, as a person calls it; no rule is changed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecar.kube.rules import Family, Format
from tests.kube.network import COMMAND, POD, populated, why_not


def iptables(
    *options: str, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ | ({} if path is None else {"PATH": path}),
    )


def test_it_prints_and_tells_who_reads_it() -> None:
    both = iptables().stdout
    assert both.count("*nat\n") == 2
    assert "# IPv4, for iptables-restore --noflush\n*nat\n" in both
    assert "# IPv6, for ip6tables-restore --noflush\n*nat\n" in both
    nft = iptables("--format", "nft", "--family", "6").stdout
    assert nft.startswith("# IPv6, for nft -f -\ntable ip6 sidecar316\n")
    assert "table ip sidecar316" not in nft


def test_lists_take_commas_and_repetition() -> None:
    options = ["--exclude-inbound-ports", "22, 25", "--exclude-inbound-ports", "9-10"]
    printed = iptables(*options, "--family", "4").stdout
    for port in ("22", "25", "9:10"):
        assert f"--dport {port} -j RETURN" in printed


MISTAKES = {
    ("--exclude-inbound-ports", "http"): (
        "--exclude-inbound-ports: 'http' is not a port or range such as 8080 or "
        "9000-9010"
    ),
    ("--include-inbound-ports", "80,90-80"): (
        "--include-inbound-ports: '90-80' is not a port or range such as 8080 or "
        "9000-9010: it ends before it begins"
    ),
    ("--inbound-port", "70000"): (
        "--inbound-port: '70000' is not a port such as 8080: ports are 1 to 65535"
    ),
    ("--outbound", "--exclude-outbound-cidrs", "10.0.0.1/8"): (
        "--exclude-outbound-cidrs: '10.0.0.1/8' is not a network such as 10.0.0.0/8, "
        "192.0.2.7 or fd00::/8: the network of this address is 10.0.0.0/8"
    ),
    ("--user", "proxy"): (
        "--user: 'proxy' is not a numeric user id such as 1337; `id -u NAME` prints "
        "that of a name"
    ),
    ("--outbound", "--exclude-user", "1,"): (
        "--exclude-user: '' is not a numeric user id such as 1337"
    ),
    ("--exclude-outbound-ports", "80"): (
        "--exclude-outbound-ports: has no effect without --outbound"
    ),
    ("--exclude-user", "7"): "--exclude-user: has no effect without --outbound",
    ("--no-inbound",): "--no-inbound: nothing is left; add --outbound",
    ("--outbound", "--outbound-port", "15006"): (
        "--outbound-port: 15006 is the inbound port, too; give each its own, such as "
        "15006 and 15001"
    ),
    ("--apply", "--remove"): "give either --apply or --remove",
}


@pytest.mark.parametrize("options", MISTAKES, ids=" ".join)
def test_a_mistake_is_told_with_its_option(options: tuple[str, ...]) -> None:
    done = iptables(*options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert MISTAKES[options] in done.stderr
    assert "Traceback" not in done.stderr


def test_all_mistakes_are_told_at_once() -> None:
    done = iptables("--inbound-port", "x", "--user", "y", "--exclude-user", "z")
    assert len(done.stderr.splitlines()) == 4


@pytest.mark.parametrize("action", ["--apply", "--remove"])
def test_without_a_tool_it_says_what_to_install(action: str, tmp_path: Path) -> None:
    done = iptables(action, path=str(tmp_path))
    assert done.returncode == 1
    assert "install the package iptables or nftables" in done.stderr
    for tool in Format:
        done = iptables(action, "--format", tool.value, path=str(tmp_path))
        assert done.returncode == 1
        assert "is not on the PATH; install the package" in done.stderr


# A system that has not all of it.


@pytest.fixture
def only_ipv4(tmp_path: Path) -> str:
    """A PATH with iptables, and without ip6tables and nft."""
    if reason := why_not(Format.IPTABLES):
        pytest.skip(reason)
    for name in ("iptables-restore", "iptables-save"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(Path(found).resolve())
    return str(tmp_path)


def test_without_ip6tables_it_says_so_and_goes_on_with_ipv4(only_ipv4: str) -> None:
    with populated() as net:
        options = ("env", f"PATH={only_ipv4}", *COMMAND, "--apply")
        assert net.in_pod(*options) == "IPv4: applied by iptables\n"
        assert net.from_client(POD[Family.IPV4], 8080).startswith("proxy")
        assert net.from_client(POD[Family.IPV6], 8080) == "app"
        # Whoever asks for IPv6 alone gets it, or an error.
        with pytest.raises(subprocess.CalledProcessError) as failed:
            net.in_pod(*options, "--family", "6")
        assert "ip6tables-save is not on the PATH" in failed.value.stderr


def test_the_older_iptables_does_it_too(tmp_path: Path) -> None:
    """As some nodes still have it: the same names, another way to the kernel."""
    if reason := why_not(Format.IPTABLES):
        pytest.skip(reason)
    legacy = shutil.which("xtables-legacy-multi")
    if legacy is None:
        pytest.skip("xtables-legacy-multi is not installed")
    for word in ("iptables", "ip6tables"):
        for name in (f"{word}-restore", f"{word}-save"):
            (tmp_path / name).symlink_to(legacy)
    with populated() as net:
        options = ("env", f"PATH={tmp_path}", *COMMAND)
        try:
            before = net.in_pod(legacy, "iptables", "-t", "nat", "-S")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel does not have it: {error.stderr}")
        for _ in range(2):
            net.in_pod(*options, "--apply")
            for family in Family:
                assert net.from_client(POD[family], 8080).startswith("proxy")
        net.in_pod(*options, "--remove")
        assert net.in_pod(legacy, "iptables", "-t", "nat", "-S") == before
        assert net.from_client(POD[Family.IPV4], 8080) == "app"
