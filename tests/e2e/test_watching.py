"""Watches by the real programs: each new binary of a branch is told once, whoever had it built, until they end."""

import json
import re
from email.message import EmailMessage
from urllib.request import Request, urlopen

from tests.e2e.control import Control
from tests.e2e.test_operator import operate
from tests.support.smtp import mail_text

ANN, BOB = "ann@example.org", "bob@example.org"


def to(farm: Control, address: str) -> list[EmailMessage]:
    """Return the mails that came for an address; one that came twice, since a program was killed, is one."""
    return list({mail["Message-ID"]: mail for mail in farm.mails() if mail["Delivered-To"] == address}.values())


def test_a_watch_tells_each_new_binary_of_its_branch_once_whoever_had_it_built_until_its_link_is_followed(
    control: Control,
) -> None:
    farm = control.farm
    box = farm.start_mail()
    metaserver = farm.start_metaserver("--web")
    control.server("anna")
    told = control.ask("--watch", "main", "--greeting=goodbye", ANN)
    assert (told["exit"], told["watch"], told["ref"], told["email"]) == (0, 1, "refs/heads/main", ANN)
    assert control.ask("--watch", "main", "--greeting=goodbye", ANN)["watch"] == 1, "the same again is the same watch"
    assert "no branch" in control.refused("--watch", "mian", ANN, code=8)

    second = control.commit(**{"main.c": control.source("second")})
    control.ask("--greeting=goodbye", BOB)
    box.wait_for(f"mail for {ANN}")
    (mail,) = to(control, ANN)
    assert "A new binary of main" in mail_text(mail)
    assert second[:12] in mail_text(mail)
    assert "unwatch 1" in mail_text(mail)

    metaserver.kill()
    third = control.commit(**{"main.c": control.source("third")})
    metaserver = farm.start_metaserver("--web")
    while len(to(control, ANN)) < 2:
        box.wait_for(f"mail for {ANN}")
    mail = to(control, ANN)[-1]
    assert third[:12] in mail_text(mail), "it was asked for by the watch alone"
    (shown,) = json.loads(operate(control, "watches", "--json"))["found"]
    assert (shown["email"], shown["tip"], shown["awaited"]) == (ANN, third, 1), (
        "of what was there when the watch was made nobody made one"
    )

    link = re.match(r"<(http://[^>]+/unsubscribe/[^>]+)>, <mailto:", mail["List-Unsubscribe"])
    assert link is not None
    with urlopen(Request(link[1], b"List-Unsubscribe=One-Click"), timeout=60) as page:  # noqa: S310 - the farm's own
        assert b"the branch that you watch" in page.read()
    control.commit(**{"main.c": control.source("fourth")})
    control.ask("--greeting=goodbye", BOB)
    box.wait_for(f"mail for {BOB}")
    assert "its mails were ended" in operate(control, "watches")
    assert "has ended" in operate(control, "unwatch", "1")
    assert "nobody watches" in operate(control, "watches")
    assert len(to(control, ANN)) == 2
