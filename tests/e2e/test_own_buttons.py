"""Who owns a machine and asks for builds does with a browser what is theirs to do, and an operator the rest."""

import json

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.control import Control
from tests.e2e.test_identities import joined, program
from tests.e2e.test_live import pages_of
from tests.e2e.test_operator import operate
from tests.e2e.test_rights import keyed, person
from tests.support.browser import DESK, NARROW, WAIT, Window, chromium

__all__ = ["keyed"]

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.long]


def signed_in(farm: Control, browser: Browser, site: str, home: dict[str, str]) -> Window:
    """Return the window of a person who has signed in with a token of their own."""
    made = program(farm, "startcompile.py", "token", "browser", "--json", **home)
    window = Window(browser, site)
    window.page.goto("/sign-in?to=/buildservers")
    window.page.get_by_label("Token").fill(json.loads(made.stdout)["token"])
    window.page.get_by_role("button", name="Sign in", exact=True).click()
    says(window, "You are signed in as")
    return window


def says(window: Window, text: str) -> None:
    """Wait until a page says what came of a button."""
    expect(window.page.get_by_role("status").first).to_contain_text(text, timeout=WAIT)


def press(window: Window, name: str) -> None:
    """Press a button, of which there is one."""
    window.page.get_by_role("button", name=name, exact=True).click()


def test_an_owner_lets_their_machine_finish_and_ends_their_own_request_and_an_operator_forgets_the_machine(
    keyed: Control,
) -> None:
    attic = joined(keyed, "attic", "--owner", "ben@example.org")
    ben, eve = person(keyed, "ben", "requester", "ben@example.org"), person(keyed, "eve", "requester", "eve@x.example")
    zoe = person(keyed, "zoe", "operator")
    _, site = pages_of(keyed)
    with chromium() as browser:
        window = signed_in(keyed, browser, site, ben)
        page = window.page
        page.get_by_role("link", name="attic").first.click()
        page.get_by_label("Reason").fill("its disk is full")
        assert page.get_by_role("button", name="Forget").count() == 0, "that is an operator's to do"
        press(window, "Let it finish")
        says(window, "Build server attic is drained: nothing runs there")
        expect(page.locator("main")).to_contain_text("It was paused: its disk is full.")
        assert window.faults() == []

        for home, who in ((ben, "ben@example.org"), (eve, "eve@x.example")):
            assert program(keyed, "startcompile.py", "--greeting=goodbye", who, **home).returncode == 0
        page.goto("/build/1")
        assert page.get_by_role("button", name="Cancel").count() == 1, "what eve asked for is hers"
        press(window, "Cancel my request")
        says(window, "Request 1 is cancelled")
        expect(page.locator("h1")).to_contain_text("queued")
        assert page.get_by_role("button", name="Cancel").count() == 0
        assert window.faults() == []
        page.goto("/buildservers/attic")
        press(window, "Resume")
        says(window, "Build server attic takes builds again")
        page.goto("/build/1")
        expect(page.locator("h1")).to_contain_text("succeeded", timeout=WAIT)
        window.close()

        window = signed_in(keyed, browser, site, zoe)
        window.page.goto("/buildservers/attic")
        assert window.page.get_by_role("button", name="Forget").count() == 0, "it is connected"
        assert attic.stop() == 0
        press(window, "Forget it")
        says(window, "Build server attic is forgotten")
        expect(window.page.locator("h1")).to_contain_text("Machines")
        assert window.page.get_by_role("link", name="attic").count() == 0
        window.close()


def test_who_asked_lets_others_go_first_and_an_operator_moves_it_forward_and_reads_what_came_of_it(
    keyed: Control,
) -> None:
    ben, zoe = person(keyed, "ben", "requester", "ben@example.org"), person(keyed, "zoe", "operator")
    for options in ((), ("--loud",)):
        assert program(keyed, "startcompile.py", *options, "ben@example.org", **ben).returncode == 0
    _, site = pages_of(keyed)
    with chromium() as browser:
        for home, button, rounds, told, row in (
            (ben, "Let others go before request 1", "20", "20 rounds back; 1 build stands", "lets 20 rounds of others"),
            (zoe, "Move request 1 forward", "1", "1 round forward; no build stands", "moved 1 round forward"),
        ):
            window = signed_in(keyed, browser, site, home)
            page = window.page
            page.goto("/build/1")
            page.get_by_label("Rounds").fill(rounds)
            press(window, button)
            says(window, f"Request 1 is moved {told} before it")
            expect(page.locator("main")).to_contain_text(row)
            operate(keyed, "lower", "1", "--rounds", "7")
            expect(page.locator("main")).to_contain_text("lets 7 rounds of others go first", timeout=WAIT)
            says(window, f"Request 1 is moved {told}")
            for (width, height), dark in ((DESK, False), (NARROW, True)):
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme="dark" if dark else "light")
                assert window.faults() == []
            window.close()
