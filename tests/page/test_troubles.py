"""What the page says when answers fail, come late, or lead to what is no more."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.docs.serving import serving
from tests.page.browser import MARKS, ask, looking
from tests.page.places import ADMIN, Place, groups, guarded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Route

pytestmark = MARKS

LIVE = re.compile("^live$")
NONE = "\N{EN DASH}"


def answering(status: int) -> Callable[[Route], None]:
    """Answer in the sidecar's place."""
    return lambda route: route.fulfill(status=status, json={"error": "not now"})


def hide(page: Page, *, is_hidden: bool) -> None:
    """Another tab is looked at: headless, each is the one in front."""
    page.evaluate(
        """(isHidden) => {
          const told = {get: () => isHidden, configurable: true};
          Object.defineProperty(document, "hidden", told);
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_nothing_is_told_to_be_well_before_it_is_known(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone", "POST")
    with looking(browser, place.page) as page:
        page.route("**/fault-groups?*", answering(500))
        page.route("**/events?*", answering(500))
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("not now")
        expect(page.locator("#faults")).to_contain_text("Waiting for the sidecar")
        expect(page.locator("#events")).to_contain_text("Waiting for the sidecar")
        assert page.title().startswith("(?) ")
        page.unroute("**/fault-groups?*")
        expect(groups(page)).to_have_count(1)
        page.get_by_label("Search").fill("no such word")
        expect(page.locator("#faults")).to_contain_text("No group matches.")


def test_a_hidden_tab_leaves_the_stream_and_comes_back_to_it(
    browser: Browser, place: Place
) -> None:
    """A browser has six connections for an address: each tab would hold one."""
    with looking(browser, place.page) as page:
        expect(page.get_by_text(LIVE)).to_be_visible()
        hide(page, is_hidden=True)
        expect(page.get_by_text("polling")).to_be_visible()
        ask(f"{place.inbound}/gone", "POST")
        expect(page).to_have_title(re.compile(r"^\(1\) "))
        hide(page, is_hidden=False)
        expect(page.get_by_text(LIVE)).to_be_visible()
        expect(groups(page)).to_have_count(1)


def test_a_link_leads_to_its_group_wherever_it_is(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone", "POST")
    with looking(browser, place.page) as page:
        expect(groups(page)).to_have_count(1)
        group = groups(page).get_attribute("data-group")
        page.get_by_role("button", name=re.compile("^P3")).click()
        expect(groups(page)).to_have_count(0)
        page.goto(f"{place.page}#group={group}")  # Filtered out, but asked for.
        expect(page.locator(".group.open")).to_have_count(1)
        page.goto(f"{place.page}#group=0123456789abcdef")
        faults = page.locator("#faults")
        expect(faults).to_contain_text("The group 0123456789abcdef is not shown")
        faults.get_by_role("button", name="Close").click()
        expect(faults).not_to_contain_text("is not shown")
        # Of those that were seen last it is none any more.
        page.route("**/fault-groups?*", lambda route: route.fulfill(json=[]))
        page.goto(f"{place.page}?again#group={group}")
        expect(page.locator(".group.open article")).to_contain_text("316-CONN-REFUSED")


def test_a_link_brings_its_group_into_view(browser: Browser, place: Place) -> None:
    for number in range(30):
        ask(f"{place.inbound}/bad?status={500 + number}", "POST")
    with looking(browser, place.page) as page:
        page.set_viewport_size({"width": 1440, "height": 400})
        expect(groups(page).last).to_be_attached()
        last = groups(page).last.get_attribute("data-group")
        page.evaluate("id => { location.hash = `group=${id}`; }", last)
        expect(page.locator(".group.open > .row")).to_be_in_viewport()


def test_who_is_kept_out_for_a_while_goes_on_afterwards(
    browser: Browser, place: Place
) -> None:
    """Others' wrong tokens do that (429); there is no form to fill in."""
    with looking(browser, place.page) as page:
        expect(page.get_by_text(LIVE)).to_be_visible()
        page.route("**/upstreams", answering(429))
        expect(page.get_by_role("alert")).to_contain_text("not now")
        expect(page.get_by_label("Token of the admin API")).to_have_count(0)
        ask(f"{place.inbound}/gone", "POST")
        expect(groups(page)).to_have_count(1)
        page.unroute("**/upstreams")
        expect(page.get_by_role("alert")).to_have_count(0)


def test_a_failure_is_never_shown_beneath_another_group(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/gone", "POST")
    ask(f"{place.inbound}/bad", "POST")
    [other] = place.records("route=gone")
    [own] = place.records("route=checkout")
    with looking(browser, place.page) as page:
        groups(page).filter(has_text="checkout").click()
        expect(page.get_by_role("article")).to_contain_text(str(own["fault_id"]))
        page.get_by_label("Search").fill(str(other["fault_id"]))
        page.locator(".found .row").click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("article")).to_contain_text(str(other["fault_id"]))
        expect(page.locator(".group.open")).to_have_count(0)


def test_pointing_at_a_gap_tells_of_the_gap(browser: Browser, place: Place) -> None:
    size = 150
    gap = [None if 40 < i < 110 else 0.5 for i in range(size)]
    counts = [0 if value is None else 10 for value in gap]
    latencies: dict[str, object] = dict.fromkeys(("p50_s", "p95_s", "p99_s"), gap)
    total = {"requests": counts, "failures": [0] * size, **latencies}

    def history(route: Route) -> None:
        told = route.fetch().json()
        route.fulfill(body=json.dumps(told | {"total": total}))

    with looking(browser, place.page) as page:
        page.route("**/traffic/history", history)
        page.reload()
        latency = page.locator(".now figure").last
        value = latency.locator(".u-legend .u-value").nth(1)
        expect(value).to_have_text(re.compile(f"500ms|{NONE}"))
        latency.locator(".u-over").hover()
        expect(value).to_have_text(NONE)
        traffic = page.locator(".now figure").first
        expect(traffic.locator(".u-legend .u-value").nth(1)).to_have_text("0")


def test_a_chart_whose_answer_fails_is_asked_for_again(
    browser: Browser, place: Place
) -> None:
    ask(f"{place.inbound}/bad", "POST")
    asked: list[str] = []

    def history(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=500, json={"error": "not now"})
        else:
            route.continue_()

    with looking(browser, place.page) as page:
        page.route("**/traffic/history?*", history)
        page.reload()
        line = page.locator(".rows .all .line").filter(has_text="checkout")
        expect(line.locator("canvas")).to_have_count(1)
        assert len(asked) >= 2


def test_a_link_to_a_failure_waits_for_the_token(
    browser: Browser, tmp_path: Path
) -> None:
    config, token = guarded(tmp_path)
    with serving(tmp_path, config) as addresses:
        url = f"http://{addresses[ADMIN]}/".replace("0.0.0.0", "127.0.0.1")
        with looking(browser, f"{url}#fault=0123456789abcdef0123") as page:
            page.get_by_label("Token of the admin API").fill(token)
            page.keyboard.press("Enter")
            single = page.locator("#single")
            expect(single).to_contain_text("0123456789abcdef0123")
            expect(single).not_to_contain_text("token")
            single.get_by_role("button", name="Try again").click()
            expect(single).to_contain_text("0123456789abcdef0123")


def test_what_the_sidecar_cannot_keep_or_find_is_told(
    browser: Browser, place: Place
) -> None:
    def about(route: Route) -> None:
        told = route.fetch().json()
        store = {"state": "on", "problem": "disk full"}
        route.fulfill(json=told | {"fault_store": store})

    def upstreams(route: Route) -> None:
        found = {"source": "DNS name app", "age_s": 90.0, "failure": "no answer"}
        told = [each | {"discovery": found} for each in route.fetch().json()]
        route.fulfill(json=told)

    with looking(browser, place.page) as page:
        page.route(place.page, about)
        page.route("**/upstreams", upstreams)
        expect(page.get_by_text("not kept on disk: disk full")).to_be_visible()
        told = (
            "DNS name app does not tell its endpoints: no answer; the last answer is 1m"
        )
        expect(page.locator("#upstreams")).to_contain_text(told)


def test_every_time_has_its_day_and_its_zone(browser: Browser, place: Place) -> None:
    ask(f"{place.inbound}/gone", "POST")
    [record] = place.records("route=gone")

    def old(route: Route) -> None:
        route.fulfill(json=route.fetch().json() | {"time": "2026-01-31T12:00:00.000Z"})

    with looking(browser, place.page, timezone_id="Asia/Tokyo") as page:
        groups(page).click()
        time = page.locator("article.fault header time")
        expect(time).to_have_attribute("title", str(record["time"]))
        expect(page.locator("article.fault")).to_contain_text(str(record["time"]))
        page.route(re.compile("/faults/[0-9a-f]{20}$"), old)
        page.reload()
        expect(time).to_have_text("31 Jan 21:00:00")
