"""Mails of a real farm: their links lead somewhere, and what comes back is noted where people look."""

import http.client
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.adapters.mail.test_returned import ADDRESS, POSTFIX
from tests.e2e.control import CONFIG, Control
from tests.support.mail_page import MailPage
from tests.support.smtp import mail_html, mail_text

pytestmark = pytest.mark.world


def fetched(link: str) -> tuple[int, bytes]:
    """Return the status and the body of what a link leads to."""
    place = urlsplit(link)
    assert (place.scheme, place.hostname, bool(place.port)) == ("http", "127.0.0.1", True)
    with closing(http.client.HTTPConnection("127.0.0.1", place.port, timeout=60)) as there:
        there.request("GET", place.path)
        answer = there.getresponse()
        return answer.status, answer.read()


def returned(farm: Control, message: str) -> tuple[int, str]:
    """Hand a message to bin/metaserver bounce, as a mail server's pipe does; return its exit code and what it said."""
    command = [farm.farm.python, str(farm.farm.root / "bin/metaserver"), "bounce"]
    env = farm.farm.environment()
    done = subprocess.run(command, env=env, input=message.encode(), capture_output=True, check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def test_every_link_of_a_mail_is_answered_and_a_mail_that_comes_back_is_noted_on_the_page_it_links_to(
    control: Control, tmp_path: Path
) -> None:
    """With a mail server that hands over what comes back by a pipe."""
    config = tmp_path / "config.py"
    mail = "mail = {'host': '127.0.0.1', 'sender': 'farm@example.org', 'bounces': 'farm-bounces+{id}@example.org'}\n"
    config.write_text(f"{CONFIG.read_text()}\ntitle = 'Ports farm'\n{mail}")
    control.farm.config = config
    control.farm.start_mail()
    control.farm.start_metaserver("--web")
    control.server("anna")
    asked = control.ask("ann@example.org")
    control.farm.programs[0].wait_for("mail for ann@example.org")
    arrived = control.mail_to("ann@example.org")
    assert arrived["From"].addresses[0].display_name == "Ports farm"
    links = MailPage(mail_html(arrived)).links
    assert links
    for link in links:
        assert link in mail_text(arrived)
        assert fetched(link)[0] == 200, link

    back = str(arrived["Return-Path"]).strip("<>")
    assert back.startswith(f"farm-bounces+b{asked['request_id']}-")
    code, told = returned(control, POSTFIX.replace(ADDRESS, back))
    said = "it came back: 550 5.1.1 <alice@example.org>: Recipient address rejected: User unknown"
    assert (code, said in told) == (0, True), told
    assert b"it came back: 550 5.1.1 " in fetched(asked["page_url"])[1]
    code, told = returned(control, POSTFIX.replace(ADDRESS, back.replace("@", "0@")))
    assert (code, "nothing is noted" in told) == (0, True), told
