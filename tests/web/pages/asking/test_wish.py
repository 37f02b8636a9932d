"""A form is understood by the descriptions of options, and the command line that it shows asks for the same."""

import shlex

import pytest
from attrs import evolve, fields
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.model.options import choice, flag, number, text, words, written
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.startcompile.asking.wanted import BuildArguments
from buildtool.programs.startcompile.command_line import parse
from buildtool.programs.startcompile.main import COMMAND_LINE
from buildtool.protocol.limits import TOGETHER
from buildtool.protocol.messages import AskExplain
from buildtool.web.pages.asking import wish as w
from tests.programs.startcompile.test_command_line import project
from tests.programs.startcompile.test_command_line import settings as settings_with
from tests.support.lanes import examples

OPTIONS = ProjectOptions(
    system=standard("os", "arch", "bits", "libc_version", "memory", "tools"),
    compile=(
        choice("checksum", ["crc32", "fnv1a"]),
        flag("utf8"),
        flag("fast", requires={"utf8": True}),
        number("table_size", default=1024, minimum=16, maximum=65536),
        words("parts", choices=["a", "b"]),
        text("label"),
        flag("part", default=True),
    ),
)


def wish(*pairs: tuple[str, str]) -> w.Wish:
    return w.read_wish("tally", OPTIONS, pairs)


def asks(*pairs: tuple[str, str]) -> tuple[AskExplain, ...]:
    found = w.understood(wish(*pairs), OPTIONS)
    assert found.problems == {}
    return found.asks


def test_what_is_said_is_checked_and_canonical_and_what_is_empty_is_not_said() -> None:
    (one,) = asks(
        ("revision", "v1"), ("table_size", ""), ("label", " "), ("checksum", "fnv1a"), ("utf8", "yes"),
        ("arch", "powerpc"), ("tools", "make, gcc"), ("source", ""), ("part.", "no"), ("native", "yes"),
    )  # fmt: skip
    assert one == AskExplain(
        "tally", "", "v1", "", {"checksum": "fnv1a", "utf8": True, "part": False},
        {"arch": "ppc", "tools": ("gcc", "make")}, {}, native=True,
    )  # fmt: skip


def test_each_combination_of_what_is_said_several_times_is_asked_for_once() -> None:
    pairs = (("revision", "main\nv1\n\n main "), ("utf8", "yes"), ("utf8", "no"), ("platform", "arch=ppc os=linux"),
             ("platform", "arch=arm64 os=darwin"), ("arch", "s390x"))  # fmt: skip
    found = w.understood(wish(*pairs), OPTIONS)
    made = {(one.revision, one.system["arch"], one.compile["utf8"]) for one in found.asks}
    assert made == {(r, a, u) for r in ("main", "v1") for a in ("ppc", "aarch64") for u in (True, False)}
    assert len(found.asks) == len(set(found.words)) == 8
    assert "revision=main" in found.words[0]
    assert wish(*pairs).several


def test_what_is_wrong_is_said_at_its_field_and_nothing_is_asked() -> None:
    for pairs, name, said_so in (
        ((("table_size", "7"),), "table_size", "--table-size: 7 is not a whole number from 16"),
        ((("checksum", "md5"), ("revision", "main")), "checksum", "one of crc32, fnv1a"),
        ((("revision", "-rf"),), "revision", "a branch, a tag or a commit id"),
        ((("platform", "os=beos"),), "platform", "one of linux"),
        ((("fast", "yes"), ("utf8", "no")), "", "--fast=yes needs --utf8=yes"),
        ((("revision", "\n".join(f"r{n}" for n in range(33))), ("utf8", "yes"), ("utf8", "no")), "", "these are 66"),
    ):
        found = w.understood(wish(*pairs), OPTIONS)
        assert found.asks == ()
        assert said_so in found.problems[name]


@pytest.mark.parametrize(
    "pair", [("colour", "red"), ("platform", "memory=4"), ("platform", "x"), ("label", "x" * 401),
             ("label", "\n".join(map(str, range(TOGETHER + 1))))],
)  # fmt: skip
def test_what_means_nothing_or_is_too_much_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        wish(pair)


def test_one_chosen_platform_fills_in_the_fields_of_the_form() -> None:
    chosen = w.merged(wish(("platform", "arch=ppc os=linux"), ("arch", "x86_64")))
    assert (chosen.value("arch"), chosen.value("os"), chosen.platforms) == ("ppc", "linux", ())


def test_an_option_that_is_called_as_the_parts_of_pages_are_is_a_field_like_others() -> None:
    assert wish(("part", "would"), ("part.", "no")).values == {"part": ("no",)}


CONFIGURED = settings_with(project(OPTIONS))

VALUES: dict[str, st.SearchStrategy[str]] = {
    "os": st.sampled_from(["linux", "darwin"]),
    "arch": st.sampled_from(["ppc", "x86_64", "amd64"]),
    "libc_version": st.sampled_from(["2.31", "2.36"]),
    "memory": st.sampled_from(["512", "4096"]),
    "tools": st.sampled_from(["gcc", "make,gcc"]),
    "checksum": st.sampled_from(["crc32", "fnv1a"]),
    "utf8": st.sampled_from(["yes", "no"]),
    "fast": st.sampled_from(["yes", "no"]),
    "table_size": st.sampled_from(["16", "1024"]),
    "parts": st.sampled_from(["a", "a,b"]),
    "label": st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=5),
    "revision": st.sampled_from(["main", "HEAD", "v1.0"]),
    "revrange": st.just("3"),
}
WISHES = st.fixed_dictionaries(
    {}, optional={name: st.lists(one, min_size=1, max_size=2) for name, one in VALUES.items()}
)
PLATFORMS = st.lists(st.sampled_from(["arch=ppc os=linux", "arch=x86_64 os=darwin"]), max_size=2, unique=True)


def flat(one: AskExplain | BuildArguments) -> tuple[object, ...]:
    """Return everything that a combination says of a build, so that two can be compared."""

    def pairs(values: dict[str, Value]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted((name, written(value)) for name, value in values.items()))

    compiled = dict(OPTIONS.compile_values(one.compile))
    if isinstance(one, BuildArguments):
        tool = dict(one.tool)
    else:
        tool = {"source": one.source, "revision": one.revision, "revrange": one.revrange}
    tool = {name: text for name, text in tool.items() if text not in ("", "HEAD")}
    return (*pairs(compiled), *pairs(one.system), *sorted(tool.items()), one.force)


@settings(max_examples=examples(25))
@given(WISHES, PLATFORMS, st.booleans())
def test_the_command_line_asks_for_the_same(values: dict[str, list[str]], platforms: list[str], force: bool) -> None:
    pairs = [(name, one) for name, said_ones in values.items() for one in said_ones]
    pairs += [("platform", one) for one in platforms] + [("force", "yes" if force else "")]
    wanted = wish(*pairs)
    understood = w.understood(wanted, OPTIONS)
    assume(understood.asks)
    equal = w.command(wanted, OPTIONS, "ann@example.org")
    shown = [
        one
        for line in equal.lines
        for one in parse(COMMAND_LINE, shlex.split(line)[1:], lambda _path: CONFIGURED)[1].asked
    ]
    assert {one.email for one in shown} == {"ann@example.org"}
    assert {flat(one) for one in shown} == {flat(one) for one in understood.asks}
    again = w.read_wish("tally", OPTIONS, w.fields_of(wanted, OPTIONS))
    assert {flat(one) for one in w.understood(again, OPTIONS).asks} == {flat(one) for one in understood.asks}
    assert shlex.split(equal.lines[0])[1] == "--project=tally"


def test_it_is_said_that_the_command_line_takes_the_rest_of_the_platform_from_its_machine() -> None:
    assert "from the machine" in w.command(wish(("arch", "ppc")), OPTIONS, "").note
    whole = wish(("os", "linux"), ("arch", "ppc"), ("bits", "32"), ("libc_version", "2.36"))
    assert w.command(whole, OPTIONS, "").note == ""


def test_what_a_build_made_fills_in_the_form_as_far_as_the_project_still_has_such_options() -> None:
    made = w.fields_of_build(
        "tally", "", "c0ffee", (("checksum", "crc32"), ("gone", 1), ("utf8", True)), (("arch", "ppc"), ("endian", "x")),
        OPTIONS,
    )  # fmt: skip
    assert made == [("project", "tally"), ("revision", "c0ffee"), ("arch", "ppc"), ("utf8", "yes")]


def test_what_follows_from_what_is_said_is_told() -> None:
    (one,) = asks(("fast", "yes"))
    assert w.follows(one, OPTIONS) == ["utf8=yes, which fast=yes needs"]
    assert w.follows(asks(("fast", "yes"), ("utf8", "yes"))[0], OPTIONS) == []


def test_a_question_has_all_that_a_wish_has() -> None:
    (one,) = asks()
    assert {it.name for it in fields(AskExplain)} == {
        "project", "source", "revision", "revrange", "compile", "system", "local", "force", "native", "sandbox", "nice",
        "supersede",
    }  # fmt: skip
    assert evolve(one, force=True) == asks(("force", "yes"))[0]
    assert evolve(one, sandbox=SandboxLevel.STRICT) == asks(("sandbox", "strict"))[0]
    assert evolve(one, supersede=True) == asks(("supersede", "yes"))[0]
    assert evolve(one, nice=3) == asks(("nice", "3"))[0]


def test_how_nice_it_is_is_read_shown_again_and_part_of_the_equal_command() -> None:
    said = w.read_wish("tally", OPTIONS, [("nice", "4"), ("revision", "main")])
    assert w.read_wish("tally", OPTIONS, w.fields_of(said, OPTIONS)[1:]) == said
    assert "--nice=4" in w.command(said, OPTIONS, "").lines[0]
    assert "--nice" not in w.command(evolve(said, nice=0), OPTIONS, "").lines[0]
    for wrong in ("-1", "21", "1.5", "much"):
        with pytest.raises(UsageError, match="it is a whole number from 0 to 20"):
            w.read_wish("tally", OPTIONS, [("nice", wrong)])


def test_the_least_sandbox_is_read_shown_again_and_part_of_the_equal_command() -> None:
    said = w.read_wish("tally", OPTIONS, [("sandbox", "weak"), ("revision", "main")])
    assert w.read_wish("tally", OPTIONS, w.fields_of(said, OPTIONS)[1:]) == said
    assert "--sandbox=weak" in w.command(said, OPTIONS, "").lines[0]
    assert "--sandbox" not in w.command(evolve(said, sandbox=SandboxLevel.NONE), OPTIONS, "").lines[0]
    with pytest.raises(UsageError, match="'stict' is no level of a sandbox: did you mean strict"):
        w.read_wish("tally", OPTIONS, [("sandbox", "stict")])
