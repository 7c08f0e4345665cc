"""A sidecar as a process, on ports of its own.

As `run --upstream` starts it, if not told otherwise, with nobody behind it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sidecar.demo import ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = {"SIDECAR_ADMIN_TOKEN": "0123456789-a-token-of-tests"}
# The least file is what stands for no file, but for where it listens.
CONFIG = """
inbound: {{listen: "127.0.0.1:0"}}
health: {{listen: "127.0.0.1:0"}}
admin: {{listen: "127.0.0.1:0", socket: "{folder}/admin.sock"}}
upstreams: {{app: {{endpoints: ["127.0.0.1:{nobody}"]}}}}
routes: [{{name: all, upstream: app}}]
drain: {{lead: 0s}}
"""


@contextmanager
def serving(folder: Path, config: str = CONFIG) -> Iterator[dict[str, str]]:
    """Yield the address that stands for each one that documents name.

    Args:
        folder: Where its file and its socket are.
        config: The file; `{nobody}` is a port where nobody listens.
    """
    with ports.hold_port(0) as held:
        nobody = ports.port_of(held)
        path = folder / "serving.yaml"
        path.write_text(config.format(nobody=nobody, folder=folder), encoding="utf-8")
        with subprocess.Popen(
            [sys.executable, "-m", "sidecar", "run", "-c", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | TOKEN,
        ) as process:
            assert process.stderr is not None
            line = ""
            while "serving: " not in line:
                line = process.stderr.readline()
            found = dict(re.findall(r"(inbound|health|admin) ([0-9.]+:[0-9]+)", line))
            try:
                yield {
                    f"{ports.HOST}:{port}": found[name]
                    for name, port in ports.OWN.items()
                } | {"/run/sidecar/admin.sock": f"{folder}/admin.sock"}
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)


def shell(command: str, cwd: Path, addresses: dict[str, str]) -> str:
    """Return what a command of a document prints, run with what is here."""
    for written, there in addresses.items():
        command = command.replace(written, there)
    command = command.replace(".venv/bin/sidecar", f"{sys.executable} -m sidecar")
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=os.environ | TOKEN,
    )
    return done.stdout.replace("\r", "") + done.stderr
