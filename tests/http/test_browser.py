"""The page in a real browser: what a person sees and does, on a batcher and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pgembedd.embedded_postgres import EmbeddedPostgres
from pgembedd.model import Session
from tests.http.page import HOSTILE, TEXTS, give_up, make_library
from tests.support.browser import Complaints, running_browser
from tests.support.databases import Database, fresh_database
from tests.support.documents import await_embedded
from tests.support.embedders import only
from tests.support.http import TOKEN, serving
from tests.support.sql import value
from tests.support.worker import PATIENCE_S, worker_thread

if TYPE_CHECKING:  # imported where it is used, because every process collects these tests
    from playwright.sync_api import Browser, HttpCredentials, Page, ViewportSize

pytestmark = pytest.mark.slow  # the browser is 100 MB, once

PHONE: ViewportSize = {"width": 360, "height": 740}
DESK: ViewportSize = {"width": 1280, "height": 900}
LONG = "x" * 63
CREDENTIALS: HttpCredentials = {"username": "", "password": TOKEN}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for this file: while it is open, nothing else in this thread can run an event loop."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_S * 1000)
    with running_browser() as running:
        yield running


def expect(found: Any) -> Any:
    """What must come to be true of something on a page, as playwright waits for it."""
    from playwright.sync_api import expect

    return expect(found)


@pytest.fixture(scope="module")
def library(server: EmbeddedPostgres, template: Database, model: Session) -> Iterator[Database]:
    """Pipelines that work, that are stopped, of hostile names and of very long ones."""
    with fresh_database(server, template.name) as database:
        with database.connect() as connection:
            make_library(connection, model)
            connection.execute(f'create table "{LONG}" (id text primary key, body text)')
            connection.execute(f"insert into \"{LONG}\" values (repeat('k', 400), 'x')")
            connection.execute(
                "select pgembedd.create_pipeline(%s, %s, array['body'], model => 'all-MiniLM-L6-v2')", (LONG, LONG)
            )
            give_up(connection)
            connection.execute(
                "select pgembedd_internal.stop_pipeline(id, %s) from pgembedd_internal.pipeline where name = %s",
                (f"The column {LONG} is gone, and {HOSTILE}. " * 5, LONG),
            )
        yield database


@pytest.fixture(scope="module")
def address(library: Database, model: Session) -> Iterator[str]:
    with serving(only(model), library.conninfo, http_token=TOKEN) as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """At the end the browser must have none."""
    complaints = Complaints()
    yield complaints
    assert complaints.lines == []


def opened(
    browser: Browser, address: str, complaints: Complaints, *, phone: bool = False, scheme: str = "light"
) -> Page:
    """A new profile, logged in."""
    context = browser.new_context(
        http_credentials=CREDENTIALS,
        viewport=PHONE if phone else DESK,
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    complaints.watch(page)
    page.goto(address)
    expect(page.get_by_role("heading", name="Pipelines")).to_be_visible()
    return page


def test_a_wrong_token_shows_nothing(browser: Browser, address: str) -> None:
    page = browser.new_context(http_credentials={"username": "x", "password": "wrong"}).new_page()
    answer = page.goto(address)
    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_role("alert")).to_have_text("This token is not known here.")


def test_names_are_text(browser: Browser, address: str, complaints: Complaints) -> None:
    page = opened(browser, address, complaints)
    expect(page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="broken")).first).to_contain_text(
        HOSTILE
    )
    expect(page.get_by_text(f"and {HOSTILE}").first).to_be_visible()
    page.get_by_role("link", name="Dead letters", exact=True).click()
    expect(page.get_by_text(f"{HOSTILE} failed").first).to_be_visible()
    assert page.title() == "Dead letters · pgembedd"


def test_a_search_shows_hits_in_order(browser: Browser, address: str, complaints: Complaints) -> None:
    page = opened(browser, address, complaints)
    page.get_by_label("What to look for").fill("I cannot remember my passphrase")
    page.get_by_label("Pipeline").select_option("documents")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("main").get_by_role("listitem").first).to_contain_text(TEXTS[1])
    scores = [float(text) for text in page.locator(".ranks b").all_inner_texts()]
    assert len(scores) == len(TEXTS)
    assert scores == sorted(scores, reverse=True)
    expect(page.get_by_label("What to look for")).to_have_value("I cannot remember my passphrase")


def test_a_form_on_another_sites_page_is_refused(browser: Browser, address: str, library: Database) -> None:
    page = opened(browser, address, Complaints())
    form = f'<form method="post" action="{address}/retry"><button>Win a prize</button></form>'
    page.route("http://other.localhost/", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto("http://other.localhost/")
    page.get_by_role("button", name="Win a prize").click()
    expect(page.get_by_role("alert")).to_have_text("No other web page may do this.")
    with library.connect() as connection:
        assert value(connection, "select count(*) from pgembedd.dead_letters") == 4


@pytest.mark.parametrize("path", ["/", "/dead-letters", "/search"])
def test_a_phone_scrolls_down_only(browser: Browser, address: str, complaints: Complaints, path: str) -> None:
    page = opened(browser, address, complaints, phone=True)
    page.goto(address + path)
    if path == "/search":
        page.get_by_label("What to look for").fill("x")
        page.get_by_label("Pipeline").select_option("documents")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("main").get_by_role("listitem")).to_have_count(len(TEXTS))
    page.wait_for_load_state()  # the hits are there before the style sheet is
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    if path == "/search":
        return
    # Rows are cards there, and still rows to a user who does not see them.
    assert page.get_by_role("row").count() > 1
    assert page.get_by_role("columnheader").count() > 2


# The lowest contrast of a text with what is behind it, as WCAG 2 counts it.
CONTRAST = """() => {
    const numbers = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
    const behind = element => {
        for (let e = element; e; e = e.parentElement) {
            const color = numbers(getComputedStyle(e).backgroundColor);
            if (color.length === 3 || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const worst = [];
    for (const e of document.querySelectorAll('body *')) {
        if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.closest('svg')) continue;
        const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))];
        worst.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.outerHTML.slice(0, 80)]);
    }
    return worst.sort((a, b) => a[0] - b[0])[0];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(browser: Browser, address: str, complaints: Complaints, scheme: str) -> None:
    page = opened(browser, address, complaints, scheme=scheme)
    for path in ("/", "/dead-letters", "/search"):
        page.goto(address + path)
        ratio, element = page.evaluate(CONTRAST)
        assert ratio >= 4.5, element
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()


def test_a_retry_embeds_the_rows_again(
    browser: Browser, address: str, complaints: Complaints, library: Database, model: Session
) -> None:
    page = opened(browser, address, complaints)
    with library.connect() as connection, worker_thread(library, only(model)):
        page.get_by_role("button", name="Retry content of broken").click()
        expect(page.get_by_role("status")).to_have_text("2 jobs were queued again.")
        await_embedded(connection, [1, 2], f'"{HOSTILE}"')
        assert value(connection, f'select embedding from "{HOSTILE}" where id = 3') is None
