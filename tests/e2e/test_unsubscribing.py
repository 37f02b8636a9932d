"""Mails end by one click, by the real programs: what is sent to the link in a mail's head ends mails like it."""

import re
from urllib.request import Request, urlopen

from tests.e2e.control import Control
from tests.e2e.test_operator import operate
from tests.support.smtp import mail_text

ONE_CLICK = b"List-Unsubscribe=One-Click"


def test_who_follows_the_link_of_a_mail_is_told_no_more_of_it_also_after_a_restart(control: Control) -> None:
    farm = control.farm
    farm.extra["E2E_TRIGGERS"] = "1"
    farm.start_mail()
    metaserver = farm.start_metaserver("--web")
    control.server("anna")
    operate(control, "triggers")
    control.commit(**{"main.c": control.source("second")})
    operate(control, "look", "greeter")
    farm.programs[0].wait_for("mail for ann@example.org")
    mail = control.mail_to("ann@example.org")
    link = re.match(r"<(http://[^>]+/unsubscribe/[^>]+)>, <mailto:", mail["List-Unsubscribe"])
    assert link is not None
    assert link[1] in mail_text(mail)

    with urlopen(link[1], timeout=60) as page:  # noqa: S310 - of the farm's own
        assert b"End these mails" in page.read()
    with urlopen(Request(link[1], ONE_CLICK), timeout=60) as page:  # noqa: S310 - as above
        assert b"You have unsubscribed" in page.read()
    metaserver.stop()
    metaserver = farm.start_metaserver("--web")
    control.commit(**{"main.c": control.source("third")})
    operate(control, "look", "greeter")
    metaserver.wait_for(r"build 2.1 on anna: succeeded")
    control.ask("--greeting=goodbye", "ann@example.org")
    farm.programs[0].wait_for("mail for ann@example.org")
    _, own = control.mails()
    assert "goodbye" in mail_text(own), "what they ask for by themselves they are told, and nothing before it"
