"""Imports go one way: accept, parse, route, policies, upstream, respond, record.

Each module is at a height; it may import what is at its own height or below.
Imports for the type checker alone are no dependency at run time: they are let be.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(sidecar.__file__).parent

# From the bottom up; the first that a module's name begins with is its height.
# fmt: off
HEIGHTS = (
    ("sidecar.clock", "sidecar.model", "sidecar.rendezvous", "sidecar.water_marks",
     "sidecar.faults.spec", "sidecar.transports", "sidecar.descriptors",
     "sidecar.application_probes", "sidecar.capacity", "sidecar.cgroup",
     "sidecar.readiness"),
    ("sidecar.wire",),
    ("sidecar.faults",),
    ("sidecar.policy",),
    ("sidecar.settings", "sidecar.route"),
    ("sidecar.upstream",),
    ("sidecar.observe",),
    ("sidecar.record",),
    ("sidecar.alerting",),
    ("sidecar.runtime", "sidecar.destinations"),
    ("sidecar.reloading",),
    ("sidecar.time_limits", "sidecar.accept.request_body", "sidecar.accept.response"),
    ("sidecar.attempt", "sidecar.checkout", "sidecar.forwarding",
     "sidecar.max_forwards", "sidecar.retrying", "sidecar.standing",
     "sidecar.telling"),
    ("sidecar.exchange", "sidecar.admission", "sidecar.answering", "sidecar.leaving",
     "sidecar.tunnelling"),
    ("sidecar.accept",),
    ("sidecar.admin",),
    ("sidecar.application",),
    ("sidecar.health",),
    ("sidecar.kube",),
    ("sidecar.discovery", "sidecar.kube.api", "sidecar.kube.reflector"),
    ("sidecar.drain",),
    ("sidecar.app",),
    ("sidecar.demo",),
    ("sidecar.terminal",),
    ("sidecar.kube",),
    ("sidecar.cli",),
    ("sidecar.__main__",),
)
# fmt: on
PURE = ("wire", "route", "policy", "faults")
# What would let a pure part wait, look at the clock, or speak to the world.
KEPT_OUT = (
    "aiohttp", "asyncio", "logging", "opentelemetry", "prometheus_client", "pydantic",
    "time",
)  # fmt: skip
# Written by `make docs`, run by hand: a program, not a part of the proxy.
PROGRAMS = ("sidecar.faults.docs",)


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files() -> Iterator[Path]:
    return ROOT.rglob("*.py")


def imports_of(file: Path, *, for_types: bool) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = (ROOT.parent / inner.replace(".", "/")).with_suffix(".py")
                yield inner if is_module.exists() else node.module


def height_of(module: str) -> int:
    """Return how high a module stands: by the longest name that it begins with."""
    found = [
        (len(name), height)
        for height, names in enumerate(HEIGHTS)
        for name in names
        if module == name or module.startswith(name + ".")
    ]
    assert found, f"{module} has no height: say where it belongs"
    return max(found)[1]


def test_nothing_imports_upwards() -> None:
    wrong = [
        f"{module} imports {imported}"
        for file in files()
        for module in [module_of(file)]
        if module != "sidecar"
        for imported in imports_of(file, for_types=False)
        if imported.startswith("sidecar.") and height_of(imported) > height_of(module)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", PURE)
def test_the_pure_parts_touch_no_loop_clock_log_or_library(folder: str) -> None:
    wrong = [
        f"{module_of(file)} imports {imported}"
        for file in (ROOT / folder).rglob("*.py")
        if module_of(file) not in PROGRAMS
        for imported in imports_of(file, for_types=True)
        if imported.partition(".")[0] in KEPT_OUT
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", PURE)
def test_the_pure_parts_import_pure_parts_alone(folder: str) -> None:
    """So none of them waits by way of another."""
    allowed = ("sidecar.model", *(f"sidecar.{name}" for name in PURE))
    wrong = [
        f"{module_of(file)} imports {imported}"
        for file in (ROOT / folder).rglob("*.py")
        for imported in imports_of(file, for_types=False)
        if imported.startswith("sidecar.")
        and not imported.startswith((*allowed, "sidecar.settings.snapshot"))
    ]
    assert wrong == []


def test_only_the_clock_reads_the_clock() -> None:
    reads = {
        module_of(file)
        for file in files()
        if "time" in imports_of(file, for_types=True)
    }
    assert reads == {"sidecar.clock"}


def test_the_exporter_and_the_web_library_load_when_they_are_needed() -> None:
    """Each only where it is used; else every start would pay for them."""
    users = {
        "aiohttp": (
            "sidecar.admin",
            "sidecar.alerting.webhook_sink",
            "sidecar.demo",
            "sidecar.health.hooks",
            "sidecar.health.probes",
            "sidecar.kube.account",
            "sidecar.kube.api",
            "sidecar.kube.webhook",
            "sidecar.terminal.client",
        ),
        "aiosmtplib": ("sidecar.alerting.mail_sink",),
        "dns": ("sidecar.discovery.dns",),
        "opentelemetry": (
            "sidecar.record.otlp.log_export",
            "sidecar.record.otlp.log_records",
            "sidecar.record.otlp.spans",
            "sidecar.record.otlp.tracing",
        ),
        "prometheus_client": (
            "sidecar.record.metrics",
            "sidecar.admin.health",
            "sidecar.kube.webhook",
        ),
    }
    wrong = [
        f"{module_of(file)} imports {imported}"
        for file in files()
        for imported in imports_of(file, for_types=True)
        for library in [imported.partition(".")[0]]
        if library in users and not module_of(file).startswith(users[library])
    ]
    assert wrong == []


def compiled() -> list[Path]:
    script = (ROOT.parent / ".requirements" / "compile").read_text(encoding="utf-8")
    (names,) = re.findall(r'MODULES = """(.*?)"""', script, re.DOTALL)
    return [ROOT / f"{name}.py" for name in names.split()]


@pytest.mark.parametrize("file", compiled(), ids=lambda file: file.stem)
def test_nobody_waits_where_an_exception_is_handled(file: Path) -> None:
    """Compiled, the exception would stay the one that is handled, of the whole thread.

    All that are raised later would hold it, and each other: a leak without end.
    """
    tree = ast.parse(file.read_text(encoding="utf-8"))
    handlers = [
        statement
        for node in ast.walk(tree)
        if isinstance(node, ast.Try)
        for statement in (*node.handlers, *node.finalbody)
    ]
    waits = [
        inner.lineno
        for handler in handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Await | ast.Yield | ast.YieldFrom)
    ]
    assert waits == []
