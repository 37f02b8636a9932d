"""What --check-config finds in recipes without building anything, and that it names the line of theirs."""

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.settings import check_projects, load_settings
from buildtool.errors import BuildFailed, ConfigurationError, MachineFault
from buildtool.model.options import Option, choice, flag, number, text, words
from buildtool.model.platforms import Value
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.project.check import check_types
from buildtool.project.definition import Checked, Project
from buildtool.project.fetching import Download
from buildtool.project.recipe import Command, Plan, Recipe, Wanted
from buildtool.project.recipe_check import PLACES, PLANS, _pairs, check_recipes, questions

OPTIONS = (
    choice("colour", ["red", "green", "blue"]),
    flag("debug"),
    number("size", default=10, minimum=1, maximum=99),
    text("suffix", pattern="[a-z0-9]*"),
    words("parts", choices=["io", "net"]),
    flag("fast", requires={"debug": True}),
)


def made(plan: object, *options: Option, machine: Mapping[str, Value] | None = None, **more: object) -> Project:
    system = standard("os", "arch", "tools")
    recipe = Recipe(1, plan, machine or {})  # type: ignore[arg-type] # what people write is not checked by mypy
    return Project("one", ProjectOptions(system, options or OPTIONS), recipe, lambda source: "git://x", **more)  # type: ignore[arg-type] # likewise


def good(wanted: Wanted) -> Plan:
    return Plan([Command(["make"])], ["out"])


def asked(project: Project) -> list[Wanted]:
    return [question.wanted for question in itertools.islice(questions(project), PLANS)]


def test_every_value_meets_every_other_and_every_kind_of_platform() -> None:
    met = asked(made(good))
    for one, two in itertools.combinations(("colour", "debug", "size", "suffix", "parts"), 2):
        values = [{repr(wanted.options[name]) for wanted in met} for name in (one, two)]
        pairs = {(repr(wanted.options[one]), repr(wanted.options[two])) for wanted in met}
        assert pairs == set(itertools.product(*values)), (one, two)
    kinds = {(wanted.kind, wanted.can_run, wanted.platform["os"]) for wanted in met}
    assert kinds == {
        ("native", True, "linux"), ("cross", True, "linux"), ("cross", False, "linux"), ("emulated", True, "linux"),
        ("native", True, "darwin"),
    }  # fmt: skip
    arches = {"x86_64", "ppc", "aarch64", "s390x"}
    assert {str(wanted.platform["arch"]) for wanted in met if wanted.options["debug"]} == arches
    for colour in ("red", "green", "blue"):
        assert len({(w.kind, w.can_run, w.platform["os"]) for w in met if w.options["colour"] == colour}) == len(kinds)


def test_only_what_a_request_could_say_is_asked() -> None:
    """What options require of each other is kept to, and what a pattern does not take is not tried."""
    project = made(good)
    for wanted in asked(project):
        assert dict(project.options.compile_values(wanted.options)) == wanted.options
    assert any(wanted.options["fast"] for wanted in asked(project))


def test_a_project_of_many_options_is_asked_no_more_than_a_bounded_number_of_times() -> None:
    count = 0

    def counts(wanted: Wanted) -> Plan:
        nonlocal count
        count += 1
        return good(wanted)

    many = [choice(f"option{number}", [f"value{value}" for value in range(12)]) for number in range(40)]
    check_recipes([made(counts, *many)], thorough=True)
    assert count == 2 * PLANS
    check_recipes([made(counts, *many)])
    assert count == 2 * PLANS + 2, "a start tries it once"


@given(st.lists(st.integers(1, 5), min_size=2, max_size=5))
def test_rows_in_which_all_pairs_meet_are_few(sizes: list[int]) -> None:
    rows = list(_pairs(sizes))
    for one, two in itertools.combinations(range(len(sizes)), 2):
        assert {(row[one], row[two]) for row in rows} == set(itertools.product(range(sizes[one]), range(sizes[two])))
    largest = sorted(sizes)[-2:]
    assert len(rows) <= 3 * largest[0] * largest[1]


def debug_only(wanted: Wanted) -> Plan:
    if wanted.options["debug"]:
        return Plan([Command(["make", undefined_flag])], ["out"])  # type: ignore[name-defined] # noqa: F821 - their mistake
    return good(wanted)


def pair_only(wanted: Wanted) -> Plan:
    if wanted.options["colour"] == "blue" and wanted.options["parts"] == ("io", "net"):
        raise ValueError("blue io")
    return good(wanted)


def cross_only(wanted: Wanted) -> Plan:
    check = [] if wanted.can_run else [Command([wanted.tools["RUNNER"]])]
    return Plan([Command(["make"]), *check], ["out"])


def native_host(wanted: Wanted) -> Plan:
    return Plan([Command(["make", wanted.tools["HOST"]])], ["out"])


def pattern(wanted: Wanted) -> Plan:
    return Plan([Command(["make"])], ["include/*.h"])


def not_a_plan(wanted: Wanted) -> Plan | None:
    return good(wanted) if wanted.kind == "native" else None


def words_not_commands(wanted: Wanted) -> Plan:
    return Plan([["make"]], ["out"])  # type: ignore[list-item] # a mistake of theirs


def number_in_environment(wanted: Wanted) -> Plan:
    return Plan([Command(["make"])], ["out"], environment={"SIZE": 3})  # type: ignore[dict-item] # a mistake of theirs


@pytest.mark.parametrize(
    ("plan", "said", "line"),
    [
        (debug_only, "raised NameError: name 'undefined_flag' is not defined", 2),
        (pair_only, "raised ValueError: blue io", 2),
        (cross_only, "raised KeyError: 'RUNNER'", 1),
        (native_host, "raised KeyError: 'HOST'", 1),
        (pattern, "a deliverable is the name of one file or directory, which 'include/*.h' is not", 1),
        (not_a_plan, "answered None, not a Plan", 0),
        (words_not_commands, "a plan's commands are Command([...]), which ['make'] is not", 1),
        (number_in_environment, "a plan's environment holds texts: 'SIZE' with 3 is something else", 1),
    ],
)
def test_a_mistake_is_named_with_their_line_and_what_was_asked(plan: object, said: str, line: int) -> None:
    project = made(plan)
    with pytest.raises(ConfigurationError) as caught:
        check_recipes([project], thorough=True)
    told = str(caught.value)
    assert told.startswith("project one: its recipe")
    assert said in told
    assert f"({__file__}:{project.recipe.plan.__code__.co_firstlineno + line}) (" in told
    assert any(place.words in told for place in PLACES)


def test_a_mistake_in_what_they_import_is_named_with_its_own_line(tmp_path: Path) -> None:
    """Also one of syntax, in a module that is imported only when a recipe is asked."""
    (tmp_path / "helper.py").write_text("def flags(wanted):\n    return wanted.nothing\n")
    (tmp_path / "broken.py").write_text("x = 1\ny = = 2\n")
    for module, said in (
        ("helper", "raised AttributeError: 'Wanted' object has no attribute 'nothing' ({}/helper.py:2)"),
        ("broken", "raised SyntaxError: invalid syntax (broken.py, line 2) ({}/broken.py:2)"),
    ):
        (tmp_path / "config.py").write_text(
            "import importlib.util, os\nfrom buildtool.project import *\n"
            "def plan(wanted):\n"
            f"    path = os.path.join(os.path.dirname(__file__), '{module}.py')\n"
            "    spec = importlib.util.spec_from_file_location('theirs', path)\n"
            "    module = importlib.util.module_from_spec(spec)\n"
            "    spec.loader.exec_module(module)\n"
            "    return Plan([Command(['make', module.flags(wanted)])], ['out'])\n"
            "projects = [Project('one', ProjectOptions(standard('os'), ()), Recipe(1, plan), lambda source: 'git://x')]\n"
        )
        with pytest.raises(ConfigurationError) as caught:
            check_projects(load_settings(tmp_path / "config.py"))
        assert said.format(tmp_path) in str(caught.value)


def test_what_a_recipe_says_itself_is_no_mistake() -> None:
    """It may want another machine, or say what cannot be made; that it differs from one time to the next is one."""

    def wants(wanted: Wanted) -> Plan:
        if wanted.kind != "native":
            raise MachineFault("needs a printer here")
        if wanted.options["debug"]:
            raise BuildFailed("there is no debugging before 2.0")
        return Plan([Command([wanted.tools["CXX"]])], ["out"])

    def moody(wanted: Wanted, count: "itertools.count[int]" = itertools.count()) -> Plan:  # noqa: B008 - that is the mistake
        return Plan([Command(["make", str(next(count))])], ["out"])

    check_recipes([made(wants)], thorough=True)
    with pytest.raises(ConfigurationError, match="answers the same question differently"):
        check_recipes([made(moody)], thorough=True)


class Mute:
    """What even Python cannot write."""

    def __repr__(self) -> str:
        raise OSError


def test_a_mapping_that_answers_with_no_url_is_named_with_its_line_whatever_it_answers() -> None:
    for answer, said in (None, "None"), (Mute(), "a Mute that cannot be written"):

        def astray(_source: str, answer: object = answer) -> object:
            return answer

        with pytest.raises(ConfigurationError) as caught:
            check_recipes([evolve(made(good), path_to_url=astray)])  # type: ignore[arg-type] # what people write
        line = astray.__code__.co_firstlineno
        words = f"project one: its path_to_url answered {said} for '', not a URL ({__file__}:{line})"
        assert str(caught.value) == words


def test_a_mapping_that_raises_is_named_with_the_line_that_did() -> None:
    def astray(source: str) -> str:
        return {"lib": "git://lib"}[source]

    with pytest.raises(ConfigurationError) as caught:
        check_recipes([evolve(made(good), path_to_url=astray)])
    line = astray.__code__.co_firstlineno + 1
    assert str(caught.value) == f"project one: its path_to_url raised KeyError: '' ({__file__}:{line})"


def test_what_stands_around_a_question_is_told_who_is_asked_and_may_end_it() -> None:
    def yes(_: Checked) -> str | None:
        return None

    told: list[str] = []

    @contextmanager
    def within(whom: str) -> Iterator[None]:
        yield
        told.append(whom.removesuffix(")").rpartition(" (")[0].removeprefix("project one: its "))
        if told[-1] == ends:
            raise ConfigurationError(f"{told[-1]} took too long")

    project = made(good, choice("one", ["x"]), client_checkers=[yes])
    for ends in ("recipe", "path_to_url", "checker yes"):
        with pytest.raises(ConfigurationError, match=f"^{ends} took too long$"):
            check_recipes([project], thorough=True, within=within)
    ends = "nobody"
    told.clear()
    check_recipes([project], thorough=True, within=within)
    assert told[-2:] == ["path_to_url", "checker yes"]
    assert set(told[:-2]) == {"recipe"}


def test_what_is_no_answer_is_told_whatever_it_is() -> None:
    for broken in (made(lambda _: Mute()), made(good, client_checkers=[lambda _: Mute()])):
        with pytest.raises(ConfigurationError, match="answered a Mute that cannot be written, "):
            check_recipes([broken], thorough=True)


def test_checkers_are_tried_but_not_held_to_what_this_machine_has() -> None:
    def lost(checked: Checked) -> str | None:
        raise FileNotFoundError("there is no battery here")

    def declines(checked: Checked) -> str | None:
        return "the owner sleeps"

    def wrong(checked: Checked) -> str | None:
        return checked.discs  # type: ignore[attr-defined, no-any-return] # a mistake of theirs

    def yes(checked: Checked) -> str | None:
        return True  # type: ignore[return-value] # a mistake of theirs

    check_recipes([made(good, client_checkers=[lost, declines])], thorough=True)
    for checker, said in ((wrong, "raised AttributeError"), (yes, "answered True, neither None nor a reason")):
        check_recipes([made(good, client_checkers=[checker])])
        with pytest.raises(ConfigurationError, match=f"checker {checker.__name__} {said}"):
            check_recipes([made(good, client_checkers=[checker])], thorough=True)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"tool": ("gcc",)}, "machine={'tool': ...} is unknown: did you mean tools?"),
        ({"ram": 5}, "machine={'ram': ...} is unknown; there are memory, cpus, disk, tools"),
        ({"arch": "ppc"}, "machine={'arch': ...} is a property of binaries; there are"),
        ({"tools": "gcc"}, "'gcc' is not a comma-separated list of words"),
        ({"tools": ("C compiler",)}, "('C compiler',) is not a comma-separated list of words"),
        ({"memory": "512"}, "'512' is not a whole number"),
    ],
)
def test_what_no_machine_will_ever_announce_is_refused_when_it_is_loaded(
    machine: Mapping[str, Value], said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_types(made(good, machine=machine))
    assert said in str(caught.value)


def test_sets_of_tools_may_be_written_as_any_list() -> None:
    for value in (["make", "gcc"], {"gcc", "make"}, ("gcc", "make")):
        project = made(good, machine={"tools": value})  # type: ignore[dict-item] # people write lists
        check_types(project)
        assert project.recipe.machine == {"tools": ("gcc", "make")}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"downloads": [("ftp://x/y", "a" * 64, "y")]}, "a download's url begins with https://"),
        ({"downloads": [("https://x/y", "abc", "y")]}, "64 hexadecimal digits, unlike 'abc'"),
        ({"downloads": [("https://x/y", "a" * 64, "../y")]}, "lie below the source"),
        ({"downloads": [("https://x/y", "a" * 64, "y"), ("https://x/z", "b" * 64, "y")]}, "a path of its own"),
        ({"downloads": [("https://x/y", "a" * 64, "y"), ("https://x/z", "b" * 64, "y/z")]}, "cannot lie below"),
        ({"network": ["pypi.org"]}, "say both"),
        ({"fetch": [Command(["pip"])]}, "say both"),
        ({"fetch": [Command(["pip"])], "network": ["https://pypi.org"]}, "not 'https://pypi.org'"),
        ({"fetch": [Command(["pip"], cwd="..")], "network": ["pypi.org"]}, "lie below the source"),
    ],
)
def test_what_is_declared_wrongly_is_found_where_one_value_of_one_option_declares_it(
    said: dict[str, list[object]], why: str
) -> None:
    """As at a check of the configuration: the line of the recipe is named, and with what it was asked."""

    def plan(wanted: Wanted) -> Plan:
        more: dict[str, object] = dict(said) if wanted.options["colour"] == "blue" else {}
        if "downloads" in more:
            more["downloads"] = [Download(*one) for one in said["downloads"]]  # type: ignore[misc]
        return Plan([Command(["make"])], ["out"], **more)  # type: ignore[arg-type]

    check_recipes([made(plan)])
    with pytest.raises(ConfigurationError, match=re.escape(why)) as caught:
        check_recipes([made(plan)], thorough=True)
    assert "test_recipe_check.py" in str(caught.value)
    assert "colour=blue" in str(caught.value)
