"""Somebody asks for a build from a browser: from the form, over what would happen, to the finished artifact."""

import re

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.control import Control
from tests.e2e.test_live import pages_of
from tests.support.browser import PHONE, WAIT, Window, chromium

pytestmark = [pytest.mark.xdist_group("browser")]


def asks_without_scripts(browser: Browser, site: str) -> None:
    """The same on a phone that runs no scripts: what would happen, and then two builds at once."""
    plain = Window(browser, site, PHONE, scripts=False)
    plain.page.goto("/request")
    plain.page.get_by_label("greeting").select_option("goodbye")
    plain.page.get_by_role("button", name="Show what would happen").last.click()
    expect(plain.page.locator("#would")).to_contain_text("It is there already", timeout=WAIT)
    plain.page.get_by_role("link", name="Several at once").click()
    plain.page.get_by_role("checkbox", name="hello").check()
    plain.page.get_by_label("who is told").fill("ann@example.org")
    plain.page.get_by_role("button", name="Ask for them").click()
    plain.page.wait_for_url(re.compile(r"/builds\?q=1\+2$"))
    expect(plain.page.get_by_role("status").first).to_contain_text("2 builds were asked for", timeout=WAIT)
    plain.close()


def test_from_the_form_to_the_finished_artifact(running: Control) -> None:
    running.server("anna")
    running.close_gate("anna")
    running.git("tag", "v1")
    _, site = pages_of(running)
    with chromium() as browser:
        window = Window(browser, site)
        page = window.page
        page.goto("/")
        page.get_by_role("link", name="Ask for a build").click()
        would = page.locator("#would")
        expect(would).to_contain_text("It would start at once", timeout=WAIT)
        page.get_by_label("greeting").select_option("goodbye")
        page.get_by_label("revision", exact=True).fill("v0")
        expect(would).to_contain_text("v0", timeout=WAIT)
        expect(would).not_to_contain_text("It would start at once", timeout=WAIT)
        page.get_by_label("revision", exact=True).fill("v1")
        expect(would).to_contain_text("anna would build it", timeout=WAIT)
        line = "bin/startcompile.py --project=greeter --revision=v1 --greeting=goodbye you@example.org"
        expect(would.locator("pre")).to_have_text(re.compile(f"^{re.escape(line)}$"), timeout=WAIT)
        expect(page.get_by_label("loud")).to_be_disabled(timeout=WAIT)
        assert "revision=v1" in page.url
        assert window.faults() == []
        page.route("**/request?*part=would", lambda asked: asked.fulfill(status=503, body="away"))
        page.get_by_label("source").fill("nowhere")
        expect(would).to_have_text("It is not known: these pages do not answer.", timeout=WAIT)
        page.unroute("**/request?*part=would")
        page.get_by_label("source").fill("")
        expect(would).to_contain_text("anna would build it", timeout=WAIT)
        window.said.clear()  # the browser's own words of the 503

        page.get_by_label("who is told").fill("ann@example.org")
        page.get_by_role("button", name="Ask for it").click()
        page.wait_for_url(re.compile(r"/build/1$"))
        expect(page.get_by_role("status").first).to_contain_text("Request 1", timeout=WAIT)
        running.open_gate("anna")
        expect(page.locator("h1")).to_contain_text("succeeded", timeout=WAIT)
        assert "Request 1" in page.get_by_role("status").first.inner_text(), "it stays when the page changes"
        link = page.get_by_role("link", name=re.compile(r"^greeter-.*\.zip$"))
        answer = window.context.request.get(str(link.get_attribute("href")))
        assert answer.body().startswith(b"PK")
        with page.expect_download() as download:
            page.get_by_role("link", name="program", exact=True).click()
        assert download.value.suggested_filename == "program"
        assert download.value.path().read_bytes().startswith(b"\x7fELF")
        assert running.ask("--revision=v1", "--greeting=goodbye", "bob@example.org")["answer"] == "hit"

        asks_without_scripts(browser, site)
        window.close()
