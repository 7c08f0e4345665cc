"""What a person does with the page, in a real browser, before a real sidecar."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.request import urlopen

import psutil
import pytest
from playwright.sync_api import expect

from tests.docs.serving import serving
from tests.page.browser import MARKS, ask, looking, origin
from tests.page.places import ADMIN, CONFIG, Place, groups, guarded

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = MARKS


def test_a_failure_comes_up_by_itself_and_says_what_to_do(
    browser: Browser, place: Place
) -> None:
    with looking(browser, place.page) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("orders")
        expect(page.get_by_text("Nothing has failed since")).to_be_visible()
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        assert ask(f"{place.inbound}/gone", "POST") == 502
        row = groups(page)
        expect(row).to_contain_text("316-CONN-REFUSED")
        expect(row).to_contain_text("gone")
        row.click()
        [record] = place.records("route=gone")
        expect(page.locator(".fix")).to_contain_text(str(record["fix"]))
        expect(page.get_by_role("article")).to_contain_text(str(record["fault_id"]))
        expect(page).to_have_title(re.compile(r"^\([12]\) orders"))


def test_by_keys_alone_to_the_timeline_of_attempts(
    browser: Browser, place: Place
) -> None:
    assert ask(f"{place.inbound}/gone/basket") == 502
    with looking(browser, place.page) as page:
        expect(groups(page)).to_have_count(1)
        for _ in range(page.locator("[data-group]").count()):
            page.keyboard.press("j")
            if "gone" in page.evaluate("document.activeElement.textContent"):
                break
        page.keyboard.press("Enter")
        steps = page.locator(".timeline li")
        [record] = place.records("route=gone")
        attempts = record["attempts"]
        assert isinstance(attempts, list)
        expect(steps).to_have_count(len(attempts))
        expect(steps.first).to_contain_text("316-CONN-REFUSED")
        expect(steps.first).to_contain_text("new connection")
        link = page.get_by_role("link", name="Open trace")
        trace = f"https://traces.example/t/{record['trace_id']}"
        expect(link).to_have_attribute("href", trace)
        page.keyboard.press("Escape")
        expect(page.get_by_role("article")).to_have_count(0)


def test_the_command_that_is_shown_repeats_the_failure(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone")
    with looking(browser, place.page) as page:
        groups(page).click()
        shown = page.locator(".code pre").first
        expect(shown).to_contain_text("curl")
        command = shown.text_content() or ""
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        code = re.search(r"(?im)^x-316-code: (\S+)", done.stdout)
        [latest] = place.records("limit=1&route=gone")
        assert code is not None
        assert code[1] == latest["code"]


def test_the_whole_record_can_be_copied(browser: Browser, place: Place) -> None:
    ask(f"{place.inbound}/gone", "POST")
    allowed = ["clipboard-read", "clipboard-write"]
    with looking(browser, place.page, permissions=allowed) as page:
        groups(page).click()
        page.get_by_role("button", name="Copy record").click()
        expect(page.get_by_role("status")).to_have_text("Record copied")
        copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
        [record] = place.records("route=gone")
        assert copied["fault_id"] == record["fault_id"]
        assert {"attempts", "process", "build", "events"} <= copied.keys()


def test_a_search_finds_groups_routes_and_single_failures(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone", "POST")
    ask(f"{place.inbound}/bad", "POST")
    [record] = place.records("route=checkout")
    with looking(browser, place.page) as page:
        rows = groups(page)
        expect(rows).to_have_count(2)
        page.keyboard.press("/")
        page.keyboard.type("checkout")
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text(str(record["code"]))
        expect(page.locator(".rows .all .line")).to_have_count(1)
        page.get_by_label("Search").fill(str(record["fault_id"]))
        expect(rows).to_have_count(0)
        found = page.locator(".found .row")
        expect(found).to_contain_text(str(record["fault_id"]))
        found.click()
        expect(page.get_by_role("article")).to_contain_text(str(record["trace_id"]))
        page.keyboard.press("Escape")
        expect(rows).to_have_count(2)


def test_severities_can_be_chosen(browser: Browser, place: Place) -> None:
    ask(f"{place.inbound}/gone", "POST")
    with looking(browser, place.page) as page:
        rows = groups(page)
        expect(rows).to_have_count(1)
        page.get_by_role("button", name=re.compile("^P3")).click()
        expect(rows).to_have_count(0)
        page.get_by_role("button", name=re.compile("^P1")).click()
        expect(rows).to_have_count(1)


def test_a_breaker_that_opens_is_seen_with_its_cause(
    browser: Browser, place: Place
) -> None:
    with looking(browser, place.page) as page:
        for _ in range(6):
            ask(f"{place.inbound}/gone", "POST")
        line = page.locator(".rows .all .line").filter(has_text="gone")
        expect(line.locator(".breaker")).to_contain_text("open")
        events = page.locator("#events li").filter(has_text="breaker")
        expect(events.first).to_contain_text("in a row")
        page.get_by_role("button", name="gone", exact=True).click()
        chosen = page.get_by_role("article", name="route gone")
        expect(chosen).to_contain_text("in a row")
        expect(chosen.locator("canvas")).to_have_count(3)


def test_charts_go_on_with_the_traffic(browser: Browser, place: Place) -> None:
    with looking(browser, place.page) as page:
        for _ in range(20):
            assert ask(f"{place.inbound}/fine") == 200
        line = page.locator(".rows .all .line").filter(has_text="rest")
        expect(line.locator(".success")).to_have_text("100%")
        expect(line.locator(".p50")).to_have_text(re.compile("ms$"))
        expect(line.locator("canvas")).to_have_count(1)


def test_it_is_dark_where_the_system_is_and_as_one_chooses(
    browser: Browser, place: Place
) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with looking(browser, place.page, color_scheme="dark") as page:
        dark = page.evaluate(background)
        page.keyboard.press("t")  # From "auto" to "light".
        light = page.evaluate(background)
        assert dark != light
        page.reload()
        expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
        assert page.evaluate(background) == light


def test_a_sidecar_that_is_gone_is_told_and_found_again(
    browser: Browser, tmp_path: Path
) -> None:
    with origin() as address:
        config = CONFIG.replace("ORIGIN", address)
        with serving(tmp_path, config) as addresses:
            there = Place(addresses)
            ask(f"{there.inbound}/gone", "POST")
            fixed = config.replace(
                'admin: {{listen: "127.0.0.1:0"',
                f'admin: {{{{listen: "{addresses[ADMIN]}"',
            )
            view = looking(browser, there.page)
            page = view.__enter__()
            expect(groups(page)).to_have_count(1)
        expect(page.get_by_text("no connection")).to_be_visible()
        with serving(tmp_path, fixed):
            expect(page.get_by_text("live", exact=True)).to_be_visible()
            expect(groups(page)).to_have_count(0)
            view.__exit__(None, None, None)


def test_over_the_network_it_asks_for_the_token(
    browser: Browser, tmp_path: Path
) -> None:
    config, token = guarded(tmp_path)
    with serving(tmp_path, config) as addresses:
        url = f"http://{addresses[ADMIN]}/".replace("0.0.0.0", "127.0.0.1")
        with looking(browser, url) as page:
            field = page.get_by_label("Token of the admin API")
            expect(page.get_by_role("alert")).to_contain_text("needs the token")
            for _ in range(3):  # A few mistakes do not keep the right one out.
                field.fill("not-the-token-but-long-enough")
                page.keyboard.press("Enter")
                expect(page.get_by_role("alert")).to_contain_text("is not the token")
            field.fill(token)
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_have_count(0)
            expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_a_thousand_routes_are_a_table_of_a_few_dozen_rows(
    browser: Browser, tmp_path: Path
) -> None:
    with origin() as address:
        head, _ = CONFIG.replace("ORIGIN", address).split("routes:\n")
        routes = "".join(
            f"  - {{{{name: r{n:04}, upstream: app,"
            f" matches: [{{{{path: {{{{value: /r{n:04}}}}}}}}}]}}}}\n"
            for n in range(1000)
        )
        with serving(tmp_path, f"{head}routes:\n{routes}") as addresses:
            there = Place(addresses)
            for number in range(0, 1000, 10):
                ask(f"{there.inbound}/r{number:04}")
            with looking(browser, there.page) as page:
                lines = page.locator(".rows .all .line")
                expect(page.get_by_text("1000 of 1000")).to_be_visible()
                assert lines.count() < 40
                page.get_by_label("Order of routes").select_option("name")
                expect(lines.first).to_contain_text("r0000")
                page.locator(".rows").evaluate("box => box.scrollTo(0, 1e9)")
                expect(lines.last).to_contain_text("r0999")
                assert lines.count() < 40
                page.get_by_label("Search").fill("r0777")
                expect(lines).to_have_count(1)


WATCHED = """
alerts:
  receivers: {{oncall: {{webhook: {{url: "http://127.0.0.1:{nobody}/"}}}}}}
  group_wait: 0s
"""
CHECKED = """health:
  listen: "127.0.0.1:0"
  application:
    {{tcp: {{port: {nobody}}}, interval: 200ms, timeout: 100ms, start_period: 0s,
     when_unhealthy: pass}}"""


def test_an_unhealthy_application_and_who_is_told_are_seen(
    browser: Browser, tmp_path: Path
) -> None:
    with origin() as address:
        config = CONFIG.replace("ORIGIN", address) + WATCHED
        config = config.replace('health: {{listen: "127.0.0.1:0"}}', CHECKED)
        with serving(tmp_path, config) as addresses:
            there = Place(addresses)
            ask(f"{there.inbound}/gone", "POST")
            with looking(browser, there.page) as page:
                application = page.locator("#application")
                expect(application).to_contain_text("unhealthy")
                not_ready = page.locator(".top").get_by_text("not ready")
                expect(not_ready).to_be_visible()
                alerts = page.locator("#alerts")
                expect(alerts).to_contain_text("oncall")
                alerts.get_by_role("button", name="316-LOCAL-UNHEALTHY").click()
                expect(page.locator(".group.open")).to_contain_text(
                    "316-LOCAL-UNHEALTHY"
                )


def test_pausing_keeps_what_is_shown(browser: Browser, place: Place) -> None:
    with looking(browser, place.page) as page:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.keyboard.press("p")
        expect(page.get_by_text("paused", exact=True)).to_be_visible()
        for _ in range(6):  # Its breaker opens, too.
            ask(f"{place.inbound}/gone", "POST")
        page.wait_for_timeout(5000)  # As long as it would take to be seen.
        expect(groups(page)).to_have_count(0)
        events = page.locator("#events li").filter(has_text="breaker")
        expect(events).to_have_count(0)
        page.keyboard.press("p")
        expect(groups(page).first).to_be_visible()
        expect(events.first).to_be_visible()
        line = page.locator(".rows .all .line").filter(has_text="gone")
        expect(line.locator("canvas")).to_have_count(1)


def test_a_group_opens_to_its_own_failure_whatever_was_searched_for(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone", "POST")
    ask(f"{place.inbound}/bad", "POST")
    [other] = place.records("route=gone")
    with looking(browser, place.page) as page:
        page.get_by_label("Search").fill(str(other["fault_id"]))
        page.locator(".found .row").click()
        expect(page.get_by_role("article")).to_contain_text(str(other["fault_id"]))
        page.keyboard.press("Escape")
        groups(page).filter(has_text="checkout").click()
        [own] = place.records("route=checkout")
        expect(page.locator(".group.open")).to_contain_text(str(own["fault_id"]))


def test_an_answer_that_is_lost_is_no_lost_connection(
    browser: Browser, place: Place
) -> None:
    with looking(browser, place.page) as page:
        expect(page.get_by_text("live", exact=True)).to_be_visible()
        page.route("**/upstreams", lambda route: route.abort())
        expect(page.get_by_text("does not answer")).to_be_visible()
        page.unroute("**/upstreams")
        expect(page.get_by_text("does not answer")).to_have_count(0)
        expect(page.get_by_text("live", exact=True)).to_be_visible()


def test_a_sidecar_that_hangs_is_not_live(browser: Browser, tmp_path: Path) -> None:
    with (
        origin() as address,
        serving(tmp_path, CONFIG.replace("ORIGIN", address)) as addresses,
    ):
        there = Place(addresses)
        process = next(
            child
            for child in psutil.Process().children()
            if str(tmp_path) in " ".join(child.cmdline())
        )
        with looking(browser, there.page) as page:
            expect(page.get_by_text("live", exact=True)).to_be_visible()
            process.suspend()
            try:
                expect(page.get_by_text("no connection")).to_be_visible(timeout=40_000)
            finally:
                process.resume()
            expect(page.get_by_text("live", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [360, 1024, 1280])
def test_long_names_leave_room_for_what_matters(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    with origin() as address:
        config = CONFIG.replace("ORIGIN", address)
        config = re.sub(r"\bgone\b(?!}})", "gone-".ljust(63, "x"), config)
        with serving(tmp_path, config) as addresses:
            there = Place(addresses)
            ask(f"{there.inbound}/gone", "POST")
            with looking(browser, there.page) as page:
                page.set_viewport_size({"width": width, "height": 900})
                breaker = page.locator(".rows .all .line .breaker").first
                expect(breaker).to_be_visible()
                box = page.locator(".rows").bounding_box()
                seen = breaker.bounding_box()
                assert box is not None
                assert seen is not None
                assert seen["x"] + seen["width"] <= box["x"] + box["width"]
                wide = "document.documentElement.scrollWidth"
                assert page.evaluate(wide) <= width


def test_the_first_link_leads_to_the_faults_and_closes_nothing(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone", "POST")
    with looking(browser, place.page) as page:
        groups(page).click()
        page.get_by_role("link", name="To the faults").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#faults")).to_be_focused()
        expect(page.locator(".group.open")).to_have_count(1)


def test_the_help_tells_every_key_and_the_licences(
    browser: Browser, place: Place
) -> None:
    with looking(browser, place.page) as page:
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("search")
        link = dialog.get_by_role("link", name="their licences")
        address = link.get_attribute("href") or ""
        with urlopen(f"http://{place.admin}{address}") as answer:
            told = answer.read().decode()
        assert all(name in told for name in ("preact", "uplot", "eventsource", "MIT"))
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
