"""The HTML part of mails in a real browser: light and dark, at a desk and on a phone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from buildtool.adapters.mail.samples import SampleMail, sample_mails
from buildtool.adapters.mail.text import MailLinks, MailStyle
from buildtool.model.farm.deployment import Deployment
from tests.support.browser import DESK, NARROW, PHONE, Window, chromium

pytestmark = [pytest.mark.world, pytest.mark.xdist_group("browser")]

FARM = Deployment("Ports farm", "https://farm.test/about", "help@farm.test")
LINKS = MailLinks(
    lambda digest, name: f"http://farm.test:23433/artifacts/{digest}/{name}",
    lambda number: f"http://farm.test/build/{number}",
    lambda number: f"http://farm.test/build/{number}/log",
)
TAPPED = 44
"""Pixels that a finger needs, each way."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def look(browser: Browser, mail: SampleMail, *, dark: bool, size: tuple[int, int]) -> None:
    """Open a mail, which loads nothing and has no fault; its state and its buttons are seen at once."""
    window = Window(browser, "http://farm.test", size=size, dark=dark, scripts=True)
    window.page.set_content(mail.letter.html)
    assert window.faults() == [], mail.what
    state = window.page.locator(".state").bounding_box()
    assert state is not None
    assert state["y"] < 100
    for button in window.page.locator(".button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= TAPPED, mail.what
    window.close()


def mails() -> list[SampleMail]:
    return list(sample_mails(LINKS, MailStyle(farm=FARM, strict=True)))


def test_a_mail_about_a_failure_is_read_on_a_phone_in_the_dark(browser: Browser) -> None:
    (failed,) = (one for one in mails() if one.what == "failed")
    look(browser, failed, dark=True, size=PHONE)
    window = Window(browser, "http://farm.test", size=PHONE, dark=True)
    window.page.set_content(failed.letter.html)
    error = window.page.get_by_text("unknown type name").first.bounding_box()
    assert error is not None
    assert error["y"] < PHONE[1] / 2
    window.close()


@pytest.mark.long
def test_every_mail_is_read_at_every_size_light_and_dark(browser: Browser) -> None:
    for mail in mails():
        for dark, size in ((False, DESK), (True, PHONE), (False, NARROW), (True, DESK)):
            look(browser, mail, dark=dark, size=size)
