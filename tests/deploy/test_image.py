"""The image, as far as it can be made without a container engine.

The Dockerfile copies a few files and runs one script; here the same files are copied
and the same script is run, by the image's user where the tests are root, who may write
nowhere but there. Then the result is closed to writing, and has to serve.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTALL = ".requirements/install-image"
USER_ID = 1337
CONFIG = """
inbound: {listen: "127.0.0.1:0"}
health: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0"}
upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}
routes: [{name: all, upstream: app}]
drain: {lead: 0s}
"""


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} (.*)$", DOCKERFILE, re.MULTILINE)


def copied() -> list[str]:
    """Return what the first stage takes from the repository."""
    lines = [line for line in instructions("COPY") if not line.startswith("--from")]
    return [name for line in lines for name in line.split()[:-1]]


@dataclass(frozen=True, slots=True)
class Image:
    """An installation, and as whom to use it."""

    folder: Path
    user: int | None  # None: as whoever runs the tests.

    @property
    def sidecar(self) -> str:
        return str(self.folder / "opt" / "bin" / "sidecar")

    def environment(self) -> dict[str, str]:
        """Return one in which nothing can be written by way of a variable."""
        found = {key: os.environ[key] for key in os.environ if _is_of_the_net(key)}
        return found | {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder / "src",
            env=self.environment(),
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            capture_output=True,
            text=True,
            timeout=420,
            check=False,
        )

    @contextmanager
    def started(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            command,
            cwd="/",
            env=self.environment(),
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def close_to_writing(self) -> None:
        """As the second stage has it: owned by root, or at least read-only."""
        for path in (self.folder, *self.folder.rglob("*")):
            if path.is_symlink():
                continue
            if self.user is not None:
                os.chown(path, 0, 0)
            path.chmod(path.stat().st_mode & ~0o222)

    def open_to_removal(self) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def _is_of_the_net(variable: str) -> bool:
    """Tell whether pip may need it to reach an index here."""
    return variable.startswith(("PIP_", "SSL_")) or variable.lower().endswith("_proxy")


def usable_python(image: Image) -> str | None:
    """Return an interpreter that the image's user may run, with pip and 3.11."""
    names = [
        getattr(sys, "_base_executable", sys.executable),
        *(f"python3.{minor}" for minor in (14, 13, 12, 11)),
        "python3",
    ]
    question = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    for name in names:
        found = shutil.which(name, path=image.environment()["PATH"])
        try:
            if found and image.run(found, "-c", question).returncode == 0:
                return found
        except PermissionError:
            continue
    return None


def copy_sources(to: Path) -> None:
    to.mkdir(parents=True)
    for name in copied():
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, to / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, to / name)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Install as the Dockerfile does, with root's rights to nothing."""
    user = USER_ID if os.geteuid() == 0 else None
    # Not pytest's own folder: that is closed to every other user.
    folder = Path(tempfile.mkdtemp(prefix="sidecar-image-"))
    image = Image(folder, user)
    try:
        copy_sources(folder / "src")
        (folder / "opt").mkdir()
        (folder / "tmp").mkdir()
        (folder / "sidecar.yaml").write_text(CONFIG, encoding="utf-8")
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
            if user is not None:
                os.chown(path, user, user)
        python = usable_python(image)
        if python is None:
            pytest.skip(f"no Python 3.11 with pip that user {USER_ID} may run")
        settings = [f"PYTHON={python}", f"COMPILE={int(can_compile())}"]
        done = image.run("env", *settings, INSTALL, str(folder / "opt"))
        assert done.returncode == 0, done.stderr
        image.close_to_writing()
        yield image
    finally:
        image.open_to_removal()
        shutil.rmtree(folder)


def can_compile() -> bool:
    """Tell whether here is what the first stage installs: a C compiler, headers."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which("gcc") is not None and headers.exists()


pytestmark = pytest.mark.timeout(500)  # The first test waits for pip and for gcc.


def test_it_installs_and_each_word_of_help_works(image: Image) -> None:
    done = image.run(image.sidecar, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: sidecar" in done.stdout
    assert image.run(image.sidecar, "--version").stdout == f"sidecar {__version__}\n"


def test_its_data_path_is_compiled(image: Image) -> None:
    if not can_compile():
        pytest.skip("no C compiler, or no headers of this Python")
    question = "import sidecar.exchange; print(sidecar.exchange.__file__)"
    done = image.run(str(image.folder / "opt/bin/python"), "-P", "-c", question)
    assert done.stdout.endswith(".so\n"), done.stderr


def test_it_checks_a_configuration(image: Image) -> None:
    done = image.run(image.sidecar, "check", str(image.folder / "sidecar.yaml"))
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout


def test_it_has_what_was_locked_and_no_pip(image: Image) -> None:
    question = (
        "from importlib.metadata import distributions\n"
        "for each in distributions(): print(f'{each.name}=={each.version}')"
    )
    done = image.run(str(image.folder / "opt/bin/python"), "-c", question)
    there = set(done.stdout.lower().replace("_", "-").split())
    there.discard(f"sidecar-316=={__version__}")
    lock = (ROOT / ".requirements/run.txt").read_text(encoding="utf-8")
    pins = {line for line in lock.splitlines() if line and not line.startswith("#")}
    assert there == pins


def test_it_brings_its_compiled_modules(image: Image) -> None:
    """It may not write them, so each start would compile them again."""
    package = next(image.folder.glob("opt/lib/python3.*/site-packages/sidecar"))
    compiled = {path.name.split(".")[0] for path in package.glob("__pycache__/*.pyc")}
    assert compiled == {path.stem for path in package.glob("*.py")}


def test_it_serves_and_ends_on_sigterm_without_writing(image: Image) -> None:
    """As the image starts it: `sidecar run -c FILE`."""
    before = tree(image.folder)
    config = str(image.folder / "sidecar.yaml")
    with image.started(image.sidecar, "run", "-c", config) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"health (127\.0\.0\.1:[0-9]+)", line)
        assert found is not None, line + process.stderr.read()
        ready = f"http://{found[1]}/healthz/ready"
        with urllib.request.urlopen(ready, timeout=10) as answer:
            assert answer.read() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert tree(image.folder) == before


def tree(folder: Path) -> set[tuple[Path, int]]:
    """Return every file with its time of change."""
    return {(path, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def test_the_dockerfile_installs_with_the_script_that_is_tested_here() -> None:
    build, _ = DOCKERFILE.split("\nFROM ")[-2:]
    assert build.rstrip().endswith(f"\nRUN COMPILE=1 {INSTALL} /opt/sidecar")
    assert os.access(ROOT / INSTALL, os.X_OK)


def test_the_dockerfile_brings_what_commands_call() -> None:
    """`sidecar iptables` calls nft, `sidecar certify` openssl."""
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert "--no-install-recommends nftables openssl" in last


def test_the_dockerfile_gives_what_kubernetes_expects() -> None:
    assert instructions("USER") == [f"{USER_ID}:{USER_ID}"]
    assert instructions("EXPOSE") == ["15006 15020"]
    assert instructions("ENTRYPOINT") == ['["sidecar"]']
    assert instructions("CMD") == ['["run", "-c", "/etc/sidecar/sidecar.yaml"]']


def test_both_stages_have_one_python() -> None:
    """An environment works only with the interpreter that made it."""
    bases = {line.split()[0] for line in instructions("FROM")}
    assert len(bases) == 1
    assert bases.pop().endswith("-slim")


@pytest.mark.parametrize("name", copied())
def test_what_the_image_needs_reaches_the_engine(name: str) -> None:
    """Not dropped by .dockerignore, where the last pattern that fits decides."""
    text = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    patterns = [line for line in text.splitlines() if line and line[0] != "#"]
    decisive = [p for p in patterns if fnmatch.fnmatch(name, p.removeprefix("!"))][-1]
    assert decisive.startswith("!")
