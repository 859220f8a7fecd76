"""What people do with the data-health page, in a real browser on a real Airflow: find it, follow a failure, read.

`SCREENSHOTS=write` renews the pictures in docs/ that the README shows.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from include import settings
from include.local import warehouse
from include.settings import PROJECT_ROOT
from include.unusual.series import Measure, Series
from include.warehouse import connect
from plugins.data_health.pages import SECTIONS
from tests.deployment import Day, Deployment
from tests.plugins.unusual import far_off, observe, of_weekdays

pytestmark = [pytest.mark.db, pytest.mark.stack]

PICTURES = PROJECT_ROOT / "docs"
PHONE = {"width": 360, "height": 780}
DESKTOP = {"width": 1280, "height": 860}
LIMIT_MS = 20_000
ORDERS = Series("source.greenery.greenery.orders", Measure.ROWS)
EVERY_RULE = {"resultTypes": ["violations"]}  # of axe's


@dataclass
class Days:
    """A day that was published, and one that was not, on an Airflow."""

    url: str
    failed: str


@pytest.fixture(scope="module")
def days(deployment: Deployment, failed_day: Day) -> Days:
    """The shop's first days, on the deployment that is up; of the rows of orders there is a longer past."""
    deployment.come_to("failed_day")
    failed = failed_day.runs[0].run_id
    with connect("test", warehouse.as_admin(deployment.server)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("select max(day) from ops.observations")
            [[last]] = cursor.fetchall()
        *history, newest = of_weekdays(ORDERS, 60, last)
        told = replace(far_off(ORDERS), day=last, since=last)
        observe(connection, failed, [*history, replace(newest, value=told.value)], [told])
        connection.commit()
    return Days(deployment.stack.airflow(deployment.server).url, failed)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium; Playwright's own comes from a place of its own."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def logged_in(browser: Browser, deployment: Deployment, days: Days) -> Iterator[BrowserContext]:
    """The browser, logged in, for all tests: it keeps what pages share."""
    context = browser.new_context(base_url=days.url)
    context.set_default_timeout(LIMIT_MS)
    first = context.new_page()
    _log_in(first, *deployment.stack.login())
    first.close()
    yield context
    context.close()


@pytest.fixture
def page(logged_in: BrowserContext, days: Days) -> Iterator[Page]:
    """A page of a browser that is logged in; fails where it asked another host, or broke the content's policy."""
    opened = logged_in.new_page()
    opened.set_viewport_size(DESKTOP)
    said: list[str] = []
    elsewhere: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda request: elsewhere.append(request.url) if _is_elsewhere(request.url, days) else None)
    yield opened
    opened.close()
    assert [text for text in said if "Content Security Policy" in text] == []
    assert elsewhere == []


def _is_elsewhere(url: str, days: Days) -> bool:
    return not url.startswith((days.url, "data:", "blob:"))


def _log_in(page: Page, user: str, password: str) -> None:
    page.goto(f"{settings.HEALTH_PATH}/")
    page.locator("input[name=username]").fill(user)
    page.locator("input[name=password]").fill(password)
    page.locator("button[type=submit]").click()
    page.wait_for_url(f"**{settings.HEALTH_PATH}/")


def _take_picture(page: Page, name: str) -> None:
    if os.environ.get("SCREENSHOTS") == "write":
        page.screenshot(path=PICTURES / f"{name}.png")


def test_it_is_in_airflows_navigation(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="Data health").click()
    inside = page.frame_locator("iframe")
    expect(inside.get_by_role("heading", level=1)).to_have_text("The last run did not publish")
    _take_picture(page, "data-health-in-airflow")


def test_a_failed_run_is_followed_to_the_log_of_its_task(page: Page, days: Days) -> None:
    page.goto(f"{settings.HEALTH_PATH}/")
    broken = page.locator("article.root.failed", has_text="int_orders")
    expect(broken.first).to_contain_text("new")
    _take_picture(page, "data-health-failed")
    broken.first.get_by_role("link", name="Log of its task").click()
    page.wait_for_url(f"**/runs/{_quoted(days.failed)}/tasks/**")
    expect(page.get_by_text("int_orders").first).to_be_visible()


def test_out_of_airflows_frame_a_link_leads_the_whole_window(page: Page, days: Days) -> None:
    page.goto("/plugin/data-health")
    page.frame_locator("iframe").locator("article.root").first.get_by_role("link", name="Log of its task").click()
    page.wait_for_url(f"**/runs/{_quoted(days.failed)}/tasks/**")


def test_a_tasks_extra_link_leads_to_what_it_found(page: Page, days: Days) -> None:
    page.goto(f"/dags/greenery_daily/runs/{_quoted(days.failed)}/tasks/check_sources/details")
    page.locator('a[href*="/data-health/runs/"]').click()
    page.wait_for_url(f"**{settings.HEALTH_PATH}/runs/*#check_sources")
    expect(page.locator("#check_sources")).to_be_visible()


def test_a_chart_tells_its_values_to_who_points_at_it(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/history")
    chart = page.locator("figure .chart canvas, figure .chart svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    tooltip = page.locator("#vg-tooltip-element")
    for step in range(1, 40):
        page.mouse.move(box["x"] + box["width"] * step / 40, box["y"] + box["height"] / 2)
        if tooltip.is_visible():
            break
    expect(tooltip).to_be_visible()
    expect(tooltip).to_contain_text("20")  # a year, at least
    _take_picture(page, "data-health-history")


def test_dbts_docs_are_read_behind_the_same_login(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/docs/")
    docs = page.frame_locator("iframe")
    expect(docs.get_by_role("heading", name="Welcome!")).to_be_visible()
    expect(docs.locator("strong", has_text="Sources")).to_be_visible()  # its manifest was read
    page.goto(f"{settings.HEALTH_PATH}/docs/index.html#!/model/model.greenery.fact_orders")
    expect(page.get_by_text("One row per order").first).to_be_visible()
    _take_picture(page, "data-health-docs")


def test_an_answer_is_given_by_a_click_and_is_in_the_list(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/models/int_orders")
    page.get_by_role("link", name="Answer", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Answer: int_orders")
    page.get_by_role("button", name="I see to it").click()
    page.wait_for_url(f"**{settings.HEALTH_PATH}/answers#answer-*")
    answer = page.locator("li.card", has_text="int_orders")
    expect(answer.first).to_contain_text("I have seen it")
    answer.first.get_by_role("link", name="End it").click()
    page.get_by_role("button", name="End it").click()
    expect(page.locator("li.card", has_text="int_orders").first).to_contain_text("no longer needed")


def test_a_model_is_told_with_its_neighbours_and_its_sql(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/models/fact_orders")
    expect(page.get_by_role("heading", level=1)).to_contain_text("fact_orders")
    expect(page.get_by_role("link", name="raw.orders").first).to_be_visible()
    expect(page.get_by_role("link", name="int_orders").first).not_to_be_visible()
    expect(page.locator("pre").first).to_contain_text("select")
    _take_picture(page, "data-health-model")


def test_helpers_are_shown_by_keyboard_and_by_a_link(page: Page, days: Days) -> None:
    page.goto(f"{settings.HEALTH_PATH}/models/fact_orders")
    page.locator("summary", has_text="Step by step").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="int_orders").first).to_be_visible()
    task = "transform.models.staging.greenery.stg_greenery__users_model_build"
    page.goto(f"{settings.HEALTH_PATH}/runs/{_quoted(days.failed)}")
    folded = page.locator(f'[id="{task}"] summary')
    expect(folded).not_to_be_visible()
    page.goto(f"{settings.HEALTH_PATH}/runs/{_quoted(days.failed)}#{task}")
    expect(folded).to_be_visible()


def test_a_series_is_read_with_its_band_on_a_phone_and_by_keyboard(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/unusual")
    page.locator("article").get_by_role("link", name="Rows of raw.orders", exact=True).click()
    expect(page.locator(".chart .mark-area path")).to_be_visible()
    expect(page.locator(".chart .mark-symbol path").first).to_be_visible()  # the day that is unusual
    _take_picture(page, "data-health-unusual")
    page.locator("summary", has_text="As a table").focus()
    page.keyboard.press("Enter")
    expect(page.locator("figure tbody tr").first).to_contain_text("100 to 120")  # the newest day
    _has_no_serious_fault(page)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_figure_of_a_message_leads_to_its_receipt_and_its_rows(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/messages")
    page.get_by_role("link", name="Greenery data is up to date").first.click()
    figure = page.locator(".message a[href*='/figures/revenue/']").first
    stated = figure.inner_text()
    figure.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Revenue of")
    expect(page.locator("dl.receipt dd").first).to_have_text(stated)
    _take_picture(page, "data-health-receipt")
    _has_no_serious_fault(page)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    rows = list(csv.DictReader(download.value.path().open()))
    assert f"${sum(Decimal(row['counts_for']) for row in rows):,.0f}" == stated
    assert not {"user_id", "email", "address_id", "shipping_zip_code"} & rows[0].keys()


@pytest.mark.parametrize("slug", [slug for slug, _ in SECTIONS])
def test_a_phone_needs_no_scrolling_sideways_and_axe_finds_nothing_serious_by_day_and_by_night(
    page: Page, slug: str
) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{settings.HEALTH_PATH}/{slug}")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    _take_picture(page, "data-health-phone") if slug == "" else None
    page.set_viewport_size(DESKTOP)
    _has_no_serious_fault(page)


def _has_no_serious_fault(page: Page) -> None:
    """The page follows the system's colours, and nothing but colours changes by night."""
    for scheme, options in {
        "light": EVERY_RULE,
        "dark": EVERY_RULE | {"runOnly": ["color-contrast", "link-in-text-block"]},
    }.items():
        page.emulate_media(color_scheme=scheme)
        # dbt's own page in its frame is dbt's.
        found = Axe().run(page, context={"exclude": [["iframe"]]}, options=options).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(scheme, one["id"], one["nodes"][0]["html"]) for one in serious] == []


def test_the_keyboard_leads_past_the_navigation(page: Page) -> None:
    page.goto(f"{settings.HEALTH_PATH}/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def _quoted(run_id: str) -> str:
    return settings.run_url("", run_id).rsplit("/", 1)[-1]
