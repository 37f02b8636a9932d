"""Projects that build by themselves, by the real programs: what is pushed and tagged is built, also after a kill."""

import json
from typing import Any

from tests.e2e.control import Control
from tests.e2e.test_operator import operate
from tests.support.smtp import mail_text


def triggers(farm: Control) -> dict[str, dict[str, Any]]:
    """Return what the metaserver says of each trigger, by name."""
    return {one["name"]: one for one in json.loads(operate(farm, "triggers", "--json"))["found"]}


def test_what_is_pushed_and_tagged_is_built_once_and_told_also_where_the_metaserver_was_killed(
    control: Control,
) -> None:
    control.farm.extra["E2E_TRIGGERS"] = "1"
    control.farm.start_mail()
    metaserver = control.farm.start_metaserver()
    control.server("anna")
    assert triggers(control)["push main"]["asked"] is None, "what was there before is not built"

    second = control.commit(**{"main.c": control.source("second")})
    control.git("tag", "v1")
    assert "look now" in operate(control, "look", "greeter")
    metaserver.wait_for(r"build 2.1 on anna: succeeded")
    control.farm.programs[0].wait_for("mail for ann@example.org")
    assert second[:12] in mail_text(control.mail_to("ann@example.org"))
    told = triggers(control)
    assert told["push main"]["said"] == f"asked for main at {second[:12]}: request 1"
    assert told["tag v*"]["said"].startswith(f"asked for v1 at {second[:12]}: requests 2 to 3")
    assert told["nightly HEAD"]["asked"] is None

    metaserver.kill()
    third = control.commit(**{"main.c": control.source("third")})
    metaserver = control.farm.start_metaserver()
    operate(control, "look", "greeter")
    metaserver.wait_for(r"build 3.1 on anna: succeeded")
    assert triggers(control)["push main"]["said"] == f"asked for main at {third[:12]}: request 4"
    assert "greeter" in operate(control, "look", "greeer", code=2)
    hit = control.ask(f"--revision={third}", "--greeting=hello", "bob@example.org")
    assert hit["answer"] == "hit"
