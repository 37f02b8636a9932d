"""Each option is a field of its kind, filled in as it was said, and the platforms are those that machines make."""

import json

from buildtool.model.trust.evidence import SandboxLevel
from buildtool.web.app import make_urls
from buildtool.web.pages.asking import wish as w
from buildtool.web.pages.asking.form import AskPage, FormField, ask_page, known_platforms
from buildtool.web.pages.asking.would import WouldPart
from tests.support.inline import run
from tests.web.farm import farm
from tests.web.pages.asking.test_wish import OPTIONS, wish
from tests.web.visitor import PUBLIC, TRANSFER

URLS = make_urls(PUBLIC, TRANSFER)


def form(*pairs: tuple[str, str]) -> AskPage:
    wanted = wish(*pairs)
    problems = w.understood(wanted, OPTIONS).problems
    return ask_page(wanted, OPTIONS, ["tally"], (), WouldPart(), URLS, problems)


def named(page: AskPage, name: str) -> FormField:
    (found,) = [one for one in (*page.sources, *page.options, *page.platform, *page.machine) if one.name == name]
    return found


def test_no_level_of_a_sandbox_can_be_chosen_that_is_less_than_the_project_demands() -> None:
    def picks(least: SandboxLevel, *pairs: tuple[str, str]) -> list[tuple[str, str, bool]]:
        page = ask_page(wish(*pairs), OPTIONS, ["tally"], (), WouldPart(), URLS, {}, least=least)
        return [(one.value, one.text, one.chosen) for one in page.sandbox.picks]

    assert picks(SandboxLevel.NONE) == [
        ("", "any, or none", True), ("weak", "weak or strict", False), ("strict", "strict", False),
    ]  # fmt: skip
    assert picks(SandboxLevel.WEAK, ("sandbox", "strict")) == [
        ("", "weak or strict (the project demands it)", False), ("strict", "strict", True),
    ]  # fmt: skip
    assert picks(SandboxLevel.STRICT, ("sandbox", "weak")) == [("", "strict (the project demands it)", True)]


def test_an_option_is_a_field_of_its_kind_with_its_default() -> None:
    page = form()
    kinds = {one.name: one.kind for one in (*page.options, *page.platform)}
    assert kinds == {
        "checksum": "pick", "utf8": "pick", "fast": "pick", "table_size": "number", "parts": "line", "label": "line",
        "part.": "pick", "os": "pick", "arch": "line", "bits": "number", "libc_version": "line",
    }  # fmt: skip
    assert [(one.value, one.text, one.chosen) for one in named(page, "checksum").picks] == [
        ("", "crc32 (default)", True), ("fnv1a", "fnv1a", False),
    ]  # fmt: skip
    assert [one.value for one in named(page, "utf8").picks] == ["", "yes", "no"], "which another may turn"
    assert [one.text for one in named(page, "os").picks if one.chosen] == ["any"]
    assert (named(page, "table_size").value, named(page, "table_size").usual) == ("", "1024")
    assert "ppc" in named(page, "arch").offers
    assert not page.machine_said


def test_an_option_that_depends_on_another_says_on_which() -> None:
    fast = named(form(), "fast")
    assert (fast.needs, json.loads(fast.when)) == ("needs utf8=yes", [["utf8", "yes"]])


def test_for_several_at_once_each_field_takes_several_and_keeps_what_was_chosen() -> None:
    page = form(("checksum", "crc32"), ("checksum", "fnv1a"), ("revision", "main"), ("revision", "v1"))
    assert [one.chosen for one in named(page, "checksum").picks] == [True, True]
    assert (named(page, "revision").kind, named(page, "revision").value) == ("lines", "main\nv1")
    assert page.switch == "/request?project=tally&checksum=crc32&revision=main"
    assert form(("checksum", "fnv1a")).switch == "/request?project=tally&checksum=fnv1a&_several=yes"


def test_what_is_wrong_stays_in_its_field_and_is_said_there() -> None:
    page = form(("os", "beos"), ("memory", "much"))
    assert "beos" in named(page, "os").problem
    assert [one.value for one in named(page, "os").picks if one.chosen] == ["beos"]
    assert (named(page, "memory").value, page.machine_said) == ("much", True)


def test_platforms_are_those_of_connected_machines_the_most_usual_first() -> None:
    lines = run(farm().build_servers())
    found = known_platforms(lines, wish(("arch", "ppc"), ("os", "linux")))
    assert [(one.value, one.text, one.chosen) for one in found] == [
        ("arch=x86_64 os=linux", "linux x86_64 · 2 machines", False),
        ("arch=ppc os=linux", "linux ppc · 1 machine, 2 by cross-compiling", True),
    ]
    (gone,) = known_platforms((), wish(("platform", "arch=s390x os=linux"), ("_several", "yes")))
    assert (gone.text, gone.chosen) == ("linux s390x · no machine now", True)
