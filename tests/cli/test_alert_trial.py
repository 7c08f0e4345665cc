"""`sidecar alerts --test`: a person tries who is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cli.test_commands import sidecar
from tests.support.alerted import hook, post, silent

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret"


def file_of(folder: Path, receivers: dict[str, Any]) -> str:
    file = folder / "sidecar.yaml"
    text = yaml.safe_dump(
        {
            "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
            "routes": [{"name": "all", "upstream": "app"}],
            "alerts": {"receivers": receivers, "timeout": "300ms"},
        }
    )
    file.write_text(text, encoding="utf-8")
    return str(file)


async def tried(file: str, name: str) -> Any:
    return await asyncio.to_thread(sidecar, "alerts", "-c", file, "--test", name)


async def test_a_test_notice_comes_to_the_webhook_or_by_mail(tmp_path: Path) -> None:
    async with hook() as found, post() as letters:
        plain = {"host": "127.0.0.1", "port": letters.port, "starttls": False}
        receivers = {
            "oncall": {"webhook": {"url": found.url}},
            "post": {"mail": {**plain, "from": "a@b.test", "to": ["c@d.test"]}},
        }
        file = file_of(tmp_path, receivers)
        done = await tried(file, "oncall")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "oncall: taken: look whether it has come\n"
        assert found.bodies[0]["alerts"][0]["kind"] == "test"
        assert (await tried(file, "post")).returncode == 0
        assert "test: 316-CONN-REFUSED" in letters.letters[0]["Subject"]


async def test_what_fails_is_told_without_a_secret(tmp_path: Path) -> None:
    async with hook() as found:
        found.plain = (403, f"{SECRET} invalid", {})
        file = file_of(tmp_path, {"oncall": {"webhook": {"url": found.url}}})
        done = await tried(file, "oncall")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "oncall: answers 403\n"


async def test_who_does_not_answer_is_told_in_time(tmp_path: Path) -> None:
    async with silent() as (port, _):
        url = f"http://127.0.0.1:{port}/{SECRET}"
        file = file_of(tmp_path, {"oncall": {"webhook": {"url": url}}})
        done = await tried(file, "oncall")
        assert done.returncode == 1
        assert done.stderr == "oncall: does not answer in 0.3 s\n"


@pytest.mark.parametrize(
    ("receivers", "told"),
    [
        ({"oncall": {"webhook": {"url": "http://a.test"}}}, "did you mean 'oncall'?"),
        ({}, "there are: none"),
    ],
)
def test_a_receiver_that_does_not_exist_is_told(
    receivers: dict[str, Any], told: str, tmp_path: Path
) -> None:
    done = sidecar("alerts", "-c", file_of(tmp_path, receivers), "--test", "oncal")
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
