"""What integrators write for what builds by itself, and one line for each way in which it is wrong."""

from collections.abc import Callable
from itertools import count, repeat
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.errors import ConfigurationError
from buildtool.model.options import choice, flag, words
from buildtool.model.triggers.schedule import Every, Unscheduled
from buildtool.model.triggers.trigger import VARIANTS, Trigger
from buildtool.project import every, nightly, on_poll, on_push, on_tag
from buildtool.project.check import check_types
from buildtool.protocol.limits import TOGETHER
from tests.project.test_recipe_check import good, made

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (choice("colour", ["red", "green"], default="red"), flag("debug"), words("parts"))


def checked(*triggers: object) -> None:
    check_types(made(good, *OPTIONS, triggers=triggers))


def refs(one: Trigger, *names: str) -> list[str]:
    return [name for name in names if one.is_of(name)]


def test_branches_and_tags_are_found_by_name_or_by_a_part_of_it() -> None:
    there = (
        "HEAD",
        "refs/heads/main",
        "refs/heads/release/1",
        "refs/heads/release-2",
        "refs/tags/main",
        "refs/tags/v1",
    )
    assert refs(on_push(), *there) == ["HEAD"]
    assert refs(on_push("main"), *there) == ["refs/heads/main"]
    assert refs(on_push(["main", "release*"]), *there) == [there[1], there[2], there[3]]
    assert refs(on_tag("v*"), *there) == ["refs/tags/v1"]
    assert refs(on_tag(), *there) == ["refs/tags/main", "refs/tags/v1"]
    assert refs(every("6h", "refs/tags/v1"), *there) == ["refs/tags/v1"]


def test_each_set_of_options_is_built_for_each_platform() -> None:
    one = on_push("main", options=[{"colour": "red"}, {"debug": True}], platforms=["linux-ppc", {"arch": "arm"}])
    assert [(v.options, v.platform) for v in one.variants] == [
        ({"colour": "red"}, {"os": "linux", "arch": "ppc"}), ({"colour": "red"}, {"arch": "arm"}),
        ({"debug": True}, {"os": "linux", "arch": "ppc"}), ({"debug": True}, {"arch": "arm"}),
    ]  # fmt: skip
    assert on_push(platforms="amd64").variants[0].platform == {"arch": "x86_64"}
    assert VARIANTS <= TOGETHER, "what a trigger asks for of a commit is asked for at once"
    checked(one)


def test_what_is_listed_in_any_way_is_the_same_trigger_each_time() -> None:
    """The order of a set is another one in each process, and a trigger of another name begins anew."""
    assert on_push(one for one in ("main", "next")) == on_push(["main", "next"])
    assert on_push({f"b{n}" for n in range(9)}).name == "push " + " ".join(f"b{n}" for n in range(9))
    sets = on_push(options={"parts": {"one", "two"}})  # type: ignore[arg-type]
    assert sets.variants[0].options == {"parts": ("one", "two")}, "which can be told to others"
    checked(sets)


def test_triggers_have_names_and_times_that_say_what_they_are() -> None:
    told = [
        (one.name, str(one.schedule)) for one in (on_push(["main", "next"]), on_tag("v*"), every("6h"), every("90s"))
    ]
    assert told == [("push main next", "every 10m"), ("tag v*", "every 10m"), ("every HEAD", "every 6h"),
                    ("every HEAD", "every 90s")]  # fmt: skip
    assert str(nightly("Sat  3:00   Europe/Berlin").schedule) == "at Sat 3:00 Europe/Berlin"
    assert on_push(poll="1h").schedule == Every(3600.0)


WRONG: tuple[tuple[str, Callable[[], object]], ...] = (
    ("on_push has no platform =: did you mean platforms?", lambda: on_push(platform="ppc")),  # type: ignore[call-arg]
    ("no time of day with a time zone", lambda: nightly("03:00")),
    ("no time zone that this machine knows", lambda: nightly("03:00 Mars/Olympus")),
    ("is no time", lambda: every("often")),
    ("on_push: poll = .* is not usable: say from 10s", lambda: on_push(poll="1s")),
    ("is no name of a ref", lambda: on_push("ma in", name="x")),
    ("is no name of a ref", lambda: on_push("a..b\n", name="x")),
    ("is no name of a trigger", lambda: on_push("\x1b[2J")),
    ("is no name of a trigger", lambda: on_push(name="a" * 61)),
    ("is no name of a ref", lambda: on_push("../", name="x")),
    ("is no name of a ref", lambda: on_push("a//b")),
    ("'refs/pull/.*/head' is never found: refs/heads/ and refs/tags/", lambda: on_push("refs/pull/*/head")),
    ("lists more than 1,000 names", lambda: on_push(map(str, count()))),
    ("lists more than 1,000 platforms", lambda: on_push(platforms=repeat("ppc"))),
    ("asks for 1000000 builds", lambda: on_push(options=[{}] * 1_000, platforms=["ppc"] * 1_000)),
    (r"on_push has no '.x1b' =", lambda: on_push(**{"\x1b": 1})),  # type: ignore[arg-type]
    ("is no name of a trigger", lambda: on_push(name="main ")),
    ("two triggers called 'Main'", lambda: checked(on_push(name="Main"), on_push(name="main"))),
    ("on_push has 0 names", lambda: on_push([], name="x")),
    ("it lists names", lambda: on_push([7], name="x")),  # type: ignore[list-item]
    ("nice = -1 is not a number from 0", lambda: on_push(nice=-1)),
    ("--source: 7 is not a name that", lambda: on_push(source=7)),  # type: ignore[arg-type]
    ("supersede = 'no' is neither", lambda: on_push(supersede="no")),  # type: ignore[arg-type]
    ("mails 21 addresses", lambda: on_push(to=[f"a{n}@example.org" for n in range(21)])),
    ("is no e-mail address|not an e-mail address|address", lambda: on_push(to="nobody")),
    ("asks for 65 builds of a commit", lambda: on_push(options=[{}] * 65)),
    ("asks for 0 builds of a commit", lambda: on_push(options=[])),
    ("it lists options by name", lambda: on_push(options=["red"])),  # type: ignore[list-item]
    ("it lists platforms", lambda: on_push(platforms=[3])),  # type: ignore[list-item]
    ("two triggers called 'push HEAD'", lambda: checked(on_push(), on_push())),
    ("51 triggers", lambda: checked(*(on_push(name=f"t{n}") for n in range(51)))),
    ("trigger 'push HEAD'.*colour", lambda: checked(on_push(options={"colour": "blue"}))),
    ("trigger 'push HEAD'.*archh", lambda: checked(on_push(platforms={"archh": "ppc"}))),
    ("is not a list of on_push", lambda: checked("on_push")),
    ("is not a list of on_push", lambda: check_types(made(good, *OPTIONS, triggers=7))),
)


@pytest.mark.parametrize(("words", "write"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_one_line_that_names_it(words: str, write: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match=words) as told:
        write()
    assert "\n" not in str(told.value)
    assert str(told.value).isprintable()


def test_what_the_manual_shows_is_right() -> None:
    """The list of triggers in docs/integrator.rst, for a project that has the option of which it speaks."""
    manual = (ROOT / "docs" / "integrator.rst").read_text("utf-8").partition("What builds by itself\n---")[2]
    shown = manual.partition("triggers=")[2].partition("\n   )")[0].rstrip(",")
    found = eval(shown, {"on_push": on_push, "on_tag": on_tag, "nightly": nightly, "on_poll": on_poll})  # noqa: S307 - ours
    checked(*found)
    assert [one.name for one in made(good, *OPTIONS, triggers=found).triggers] == [
        "push main",
        "tag v*",
        "nightly main",
    ]


def test_one_trigger_needs_no_list() -> None:
    project = made(good, *OPTIONS)
    check_types(evolve(project, triggers=on_push()))
    assert evolve(project, triggers=on_push()).triggers == (on_push(),)


def test_what_a_project_polls_holds_for_whoever_says_nothing_of_its_own() -> None:
    said = (on_push("main"), on_tag(poll="2m"), on_push("a", poll=None), every("6h"))
    for triggers, expected in (
        (said, [Every(600.0), Every(120.0), Unscheduled(), Every(21_600.0)]),
        ((*said, on_poll("1h")), [Every(3_600.0), Every(120.0), Unscheduled(), Every(21_600.0)]),
        ((on_poll(None), *said), [Unscheduled(), Every(120.0), Unscheduled(), Every(21_600.0)]),
    ):
        project = made(good, *OPTIONS, triggers=triggers)
        check_types(project)
        assert [one.schedule for one in project.triggers] == expected
    with pytest.raises(ConfigurationError, match="two on_poll"):
        made(good, *OPTIONS, triggers=(on_poll("1h"), on_poll(None)))
    with pytest.raises(ConfigurationError, match=r"on_poll: .*is not usable"):
        on_poll("1s")
    assert made(good, *OPTIONS, triggers=on_poll("1h")).triggers == ()
