"""People without an invitation: a code comes by real mail, brings a key, and logging out ends that."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import expect

from buildtool.requester.outcome import ExitCode
from tests.e2e.control import Control
from tests.e2e.test_identities import joined, program
from tests.e2e.test_live import pages_of
from tests.e2e.test_operator import operate
from tests.support.browser import Window, chromium
from tests.support.smtp import mail_text


@pytest.fixture
def mailing(control: Control) -> Control:
    """A farm with a mail server, whose metaserver believes nobody without a key."""
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(control.directory / "home")}
    control.farm.start_mail()
    control.farm.start_metaserver()
    return control


def mailed(farm: Control) -> EmailMessage:
    """Return the one mail there is, once it has come."""
    until = time.monotonic() + 30
    while not farm.mails():
        assert time.monotonic() < until
        time.sleep(0.05)
    (mail,) = farm.mails()
    return mail


def code_in(mail: EmailMessage) -> str:
    found = re.search(r"code: ([a-z2-7-]{19})\n", mail_text(mail))
    assert found is not None, mail_text(mail)
    return found[1]


def test_a_person_logs_in_by_mail_asks_for_a_build_and_logs_out(mailing: Control) -> None:
    joined(mailing, "anna", "--owner", "anna@example.org")
    asked = program(mailing, "startcompile.py", "login", "ben@example.org", "--json")
    assert json.loads(asked.stdout)["fresh"], asked.stderr
    assert "trusted at first use: the key of its authority is sha256:" in asked.stderr
    again = program(mailing, "startcompile.py", "login", "ben@example.org")
    assert "a code was mailed already" in again.stdout
    assert "trusted at first use" not in again.stderr
    mail = mailed(mailing)
    assert (mail["To"], mail["X-Buildtool-Outcome"]) == ("ben@example.org", "confirm")
    wrong = program(mailing, "startcompile.py", "login", "ben@example.org", "--code", "aaaa-bbbb-cccc-dddd")
    assert wrong.returncode == ExitCode.REFUSED
    assert "ask for a new one" in wrong.stderr
    pin = re.search("sha256:[0-9a-f]{64}", asked.stderr)
    assert pin is not None
    assert f" --fingerprint {pin[0]}\n" in mail_text(mail)
    code = code_in(mail)
    told = program(mailing, "startcompile.py", "--login", "ben@example.org", "--code", code.upper(), "--json")
    name = json.loads(told.stdout)["name"]
    assert name.startswith("ben-"), told.stderr
    for kept in Path(json.loads(told.stdout)["key"]).iterdir():
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600, kept
    database = mailing.directory / "farm" / "metaserver" / "buildtool.sqlite"
    for kept in (database, database.with_name(f"{database.name}-wal")):
        assert not kept.exists() or code.encode() not in kept.read_bytes(), "the code itself stands nowhere"
    done = mailing.ask("ben@example.org", "--foreground")
    assert done["build_state"] == "succeeded", done
    listed = {one["name"]: one for one in json.loads(operate(mailing, "list", "--json"))["found"]}
    assert (listed[name]["state"], listed[name]["owner"], listed[name]["by"]) == ("active", "ben@example.org", "mail")
    out = program(mailing, "startcompile.py", "logout")
    assert (out.returncode, "is revoked there and removed here" in out.stdout) == (0, True), out.stderr
    listed = {one["name"]: one for one in json.loads(operate(mailing, "list", "--json"))["found"]}
    assert listed[name]["state"] == "revoked"
    assert mailing.farm.request("ben@example.org").returncode != 0
    assert "not logged in" in program(mailing, "startcompile.py", "logout").stderr


@pytest.mark.long
@pytest.mark.xdist_group("browser")
def test_a_mailed_link_signs_in_the_browser_that_asked_for_it_once_and_no_other(mailing: Control) -> None:
    _, site = pages_of(mailing)
    with chromium() as browser:
        window, other = Window(browser, site), Window(browser, site)
        window.page.goto("/sign-in")
        window.page.get_by_label("Your address").fill("ben@example.org")
        window.page.get_by_role("button", name="Mail me a link").click()
        expect(window.page.get_by_role("status").first).to_contain_text("Open it in this browser")
        found = re.search(r"http\S+(/sign-in/\S+)", mail_text(mailed(mailing)))
        assert found is not None
        for one in (other, window):
            one.page.goto(found[1])
            assert one.faults() == []
            one.page.get_by_role("button", name="Sign in here").click()
        expect(other.page.get_by_role("alert")).to_contain_text("browser")
        expect(window.page.get_by_role("link", name="ben@example.org")).to_be_visible()
        window.page.goto(found[1])
        assert window.page.get_by_role("button", name="Sign in here").count() == 0
        for one in (other, window):
            one.said = [said for said in one.said if "status of 40" not in said]  # the browser's own words
            one.close()


def test_a_code_is_typed_at_the_prompt_and_the_operator_ends_the_key(mailing: Control) -> None:
    main, terminal = pty.openpty()
    try:
        typing = subprocess.Popen(
            [sys.executable, str(mailing.farm.root / "bin" / "startcompile.py"), "login", "cid@example.org"],
            env=mailing.farm.environment(),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        code = code_in(mailed(mailing))
        os.write(main, b"nonsense\n")
        os.write(main, f"{code}\n".encode())
        said, problems = typing.communicate(timeout=60)
        assert typing.returncode == 0, problems
        assert "logged in at" in said
        assert "ask for a new one" in problems
    finally:
        os.close(main)
        os.close(terminal)
    (name,) = [one["name"] for one in json.loads(operate(mailing, "list", "--json"))["found"]]
    operate(mailing, "revoke", name)
    refused = mailing.farm.request("cid@example.org")
    assert "was revoked" in refused.stderr
