"""The machine that measures, so that a reader can tell whether figures compare."""

from __future__ import annotations

import os
import platform
import sysconfig
from pathlib import Path


def machine() -> dict[str, str]:
    """Return what is known of it."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    is_tuned = "--enable-optimizations" in options
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "python_build": "profile-guided" if is_tuned else "plain",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
