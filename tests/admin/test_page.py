"""The page as a file: who gets it, and what a browser may do with it."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from sidecar.admin import page
from sidecar.admin.page import policy_of
from sidecar.settings.load import load_text
from sidecar.settings.problem import SettingsError
from tests.support.admin import client_of
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
CONFIG = """
admin: {{trace_url: "{url}"}}
upstreams: {{app: {{endpoints: ["127.0.0.1:8080"]}}}}
routes: [{{name: all, upstream: app}}]
"""
built = pytest.mark.skipif(page.load() is None, reason="`make page` was not run")


@built
@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html"),
        ("TEXT/HTML", "text/html"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
    ],
)
async def test_browsers_get_the_page_and_programs_the_index(
    accept: str, kind: str
) -> None:
    wanted = {"Accept": accept}
    async with (
        proxied() as proxy,
        client_of(proxy) as admin,
        admin.session.get("/", headers=wanted) as got,
    ):
        assert got.status == 200
        assert got.content_type == kind


@built
async def test_it_may_run_its_own_script_and_no_other() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        async with admin.session.get("/page") as got:
            text, policy = await got.text(), got.headers["Content-Security-Policy"]
        [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}';" in policy
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy


@built
async def test_a_browser_that_has_it_is_told_so() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        async with admin.session.get("/page") as got:
            tag = got.headers["ETag"]
        known = {"If-None-Match": tag}
        async with admin.session.get("/page", headers=known) as again:
            assert again.status == 304
            assert not await again.read()


@built
async def test_no_name_of_another_site_leads_to_it() -> None:
    async with proxied() as proxy, client_of(proxy) as admin:
        status, _ = await admin.ask("/page", Host="evil.example")
        assert status == 403


async def test_where_it_was_not_built_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page, "_built", lambda: tmp_path)
    page.load.cache_clear()
    try:
        async with proxied() as proxy, client_of(proxy) as admin:
            status, told = await admin.ask("/page")
            assert status == 503
            assert "make page" in told["error"]
            assert (await admin.get("/"))["ready"]
    finally:
        page.load.cache_clear()


def test_a_policy_names_each_script_and_style() -> None:
    policy = policy_of("<style>a</style><script>b</script><script>c</script>")
    assert len(re.findall("sha256-", policy)) == 3


def test_a_trace_url_has_a_place_for_the_trace() -> None:
    url = "https://traces.example/t/{trace_id}?org=1"
    assert load_text(CONFIG.format(url=url)).snapshot.trace_url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://traces.example/",
        "javascript:alert('{trace_id}')",
        "traces.example/{trace_id}",
        "https://traces.example/{trace}/{trace_id}",
    ],
)
def test_what_is_no_trace_url_is_refused_with_its_place(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_text(CONFIG.format(url=url))
    [problem] = caught.value.problems
    assert problem.line == 2
    assert "{trace_id}" in str(problem)
