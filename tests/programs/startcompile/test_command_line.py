"""The command line of startcompile.py: flags from descriptions, and one line for whatever is wrong."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.configuration.settings import Settings, load_settings
from buildtool.errors import BuildToolError, ConfigurationError, UsageError
from buildtool.model.options import Kind, choice, flag, number, text, words, written
from buildtool.model.project_options import RESERVED, ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.programs.startcompile.asking.wanted import BuildArguments, check_platform
from buildtool.programs.startcompile.command_line import Arguments, parse
from buildtool.programs.startcompile.main import COMMAND_LINE
from buildtool.project import Command, Plan, Project, Recipe, Wanted
from tests import strategies

ANNA = "anna@mail.example"
ROOT = Path(__file__).resolve().parents[3]


def plan(wanted: Wanted) -> Plan:
    return Plan(commands=[Command(["make"])], deliverables=["program"])


def project(options: ProjectOptions | None = None, name: str = "tally") -> Project:
    ours = ProjectOptions(
        system=standard(),
        compile=(
            choice("checksum", ["crc32", "fnv1a"], help="100% of it"),
            flag("utf8", help="characters"),
            flag("fast", requires={"utf8": True}),
            number("table_size", default=1024, minimum=16, maximum=65536),
            words("parts", choices=["a", "b"]),
            text("label"),
        ),
    )
    return Project(name, options or ours, Recipe(1, plan), lambda source: "/srv/x.git")


def settings(*projects: Project) -> Settings:
    import attrs

    return attrs.evolve(load_settings(ROOT / "config.py", secrets=False), projects=projects or (project(),))


def said(line: str, *projects: Project) -> Arguments:
    return parse(COMMAND_LINE, shlex.split(line), lambda path: settings(*projects))[1]


def asked_for(line: str, *projects: Project) -> BuildArguments:
    (asked,) = said(line, *projects).asked
    return asked


def helped(line: str, capsys: pytest.CaptureFixture[str], *projects: Project) -> str:
    with pytest.raises(SystemExit) as ended:
        said(line, *projects)
    assert ended.value.code == 0
    return capsys.readouterr().out


def refused(line: str, *projects: Project) -> str:
    with pytest.raises(BuildToolError) as caught:
        said(line, *projects)
    words = str(caught.value)
    assert "\n" not in words
    assert len(words) < 400
    return words


def test_only_what_was_set_is_sent() -> None:
    asked = asked_for(ANNA)
    assert (asked.email, asked.compile, asked.system, asked.tool) == (ANNA, {}, {}, {})


def test_flags_of_all_three_groups_become_checked_values() -> None:
    line = f"--utf8 --table-size=64 --parts b,a --arch powerpc --tools make,gcc {ANNA} --revision v1 --no-fast --force"
    asked = asked_for(line)
    assert asked.compile == {"utf8": True, "table_size": 64, "parts": ("a", "b"), "fast": False}
    assert asked.system == {"arch": "ppc", "tools": ("gcc", "make")}
    assert asked.tool == {"revision": "v1"}
    assert asked.force
    assert not asked.native


def test_the_least_sandbox_is_a_level_or_refused_with_what_was_meant() -> None:
    assert asked_for(f"--sandbox=strict {ANNA}").sandbox is SandboxLevel.STRICT
    assert asked_for(ANNA).sandbox is None
    with pytest.raises(UsageError, match="'strikt' is no level of a sandbox: did you mean strict"):
        asked_for(f"--sandbox strikt {ANNA}")


@pytest.mark.parametrize(("word", "value"), [("--utf8=yes", True), ("--utf8=off", False), ("--no-utf8", False)])
def test_a_bool_may_be_said_in_several_ways(word: str, value: bool) -> None:
    asked = asked_for(f"{word} {ANNA}")
    assert asked.compile == {"utf8": value}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("anna", "anna"),
        ("anna@", "anna@"),
        ("'anna@mail.example\nBcc: x@mail.example'", "anna@mail.example"),
        (f"{ANNA} {ANNA}", "one e-mail address is enough"),
        (f"--chekcsum fnv1a {ANNA}", "unknown option --chekcsum (did you mean --checksum?)"),
        (f"--colour red {ANNA}", "unknown option --colour"),
        (f"-x {ANNA}", "unknown option -x"),
        (f"--check fnv1a {ANNA}", "unknown option --check"),
        (f"--checksum md5 {ANNA}", "--checksum: 'md5' is not one of crc32, fnv1a"),
        (f"--checksum fnva {ANNA}", "--checksum: 'fnva' is not one of crc32, fnv1a: did you mean fnv1a?"),
        (f"--checksum CRC23 {ANNA}", "did you mean crc32?"),
        (f"--project taly {ANNA}", "unknown project 'taly': did you mean tally?"),
        (f"--table-size 1 {ANNA}", "--table-size: 1 is not a whole number from 16 up to 65536"),
        (f"--table-size many {ANNA}", "--table-size: 'many' is not a whole number"),
        (f"--utf8=perhaps {ANNA}", "--utf8: 'perhaps' is not yes or no"),
        (f"--parts a,c {ANNA}", "--parts: ('a', 'c') is not a comma-separated list of a, b"),
        (f"--fast --no-utf8 {ANNA}", "--fast=yes needs --utf8=yes, but it is no"),
        (f"--memory lots {ANNA}", "--memory: 'lots' is not a whole number"),
        (f"--revision '../x y' {ANNA}", "--revision: '../x y' is not"),
        (f"--revision {'x' * 5000} {ANNA}", "--revision: "),
        (f"--port 0 {ANNA}", "--port: '0' is not a port"),
        (f"--port http {ANNA}", "--port: 'http' is not a port"),
        (f"--project nothing {ANNA}", "unknown project 'nothing'; there is tally"),
        (f"--no-download --output x {ANNA}", "choose one"),
        (f"--force=yes {ANNA}", "--force: takes no value: leave out 'yes'"),
        ("--checksum", "--checksum: needs a value"),
        ("--config", "--config: needs a value"),
        ("--cancel 12-", "'12-' is not an id such as 12-abcdef"),
        ("--cancel 12-ab/cd", "is not an id"),
        ("--cancel ''", "--cancel needs ID"),
        (f"--cancel 12-abcdef {ANNA}", f"'{ANNA}' is too much"),
        ("--cancel 12-abcdef --force", "--force goes with ask or matrix or explain, not with cancel"),
        ("--cancel 12-abcdef --table-size 64", "unknown option --table-size"),
        ("why 12-abcdef --cancel 12-abcdef", "why and --cancel are two different things"),
        ("cancle 12-abcdef", "'cancle' is neither an e-mail address nor a command: did you mean cancel?"),
        (f"{ANNA} cancel", "one e-mail address is enough: 'cancel' is too much"),
        (f"matrix /nowhere {ANNA}", "/nowhere cannot be read"),
        (f"matrix /dev/zero {ANNA}", "matrix: /dev/zero has more than 1048576 characters: it is no list of options"),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_would_be_right(line: str, words: str) -> None:
    assert words in refused(line)


def test_options_that_contradict_each_other_are_refused_before_anybody_is_asked() -> None:
    asked = asked_for(f"--arch ppc --bits 64 {ANNA}")
    with pytest.raises(UsageError, match="bits=64 contradicts arch=ppc"):
        check_platform(asked, {"arch": "x86_64", "os": "linux"})


def test_what_follows_two_dashes_is_no_option() -> None:
    asked = asked_for(f"--utf8 -- {ANNA}")
    assert asked.email == ANNA
    assert "--utf8" in refused("-- --utf8")


def test_with_several_projects_one_has_to_be_named() -> None:
    two = (project(name="tally"), project(ProjectOptions((), (flag("shiny"),)), name="lua"))
    assert "say which project with --project: there is tally, lua" in refused(ANNA, *two)
    asked = asked_for(f"--shiny {ANNA} --project lua", *two)
    assert asked.project.name == "lua"
    assert "unknown option --utf8" in refused(f"--project lua --utf8 {ANNA}", *two)
    assert said("--cancel 12-abcdef", *two).target == (12, "abcdef")
    assert "'stauts' is neither an e-mail address nor a command: did you mean status?" in refused("stauts", *two)


def test_an_id_as_it_was_told_cancels() -> None:
    found = said("--cancel 12-abcdef --json")
    assert (found.target, found.asked, found.json) == ((12, "abcdef"), (), True)


def test_wait_is_another_word_for_foreground() -> None:
    assert said(f"--wait {ANNA}").foreground
    assert said(f"--foreground {ANNA}").foreground
    assert not said(ANNA).foreground


def test_the_value_of_an_option_is_no_command() -> None:
    """Neither of one that every project has, nor of one that only the project knows."""
    for line in (f"--revision cancel {ANNA}", f"--label cancel {ANNA}", f"--project tally ask --label why {ANNA}"):
        assert asked_for(line).email == ANNA


@pytest.mark.parametrize("words", ["matrix {} --utf8", "--matrix {} --utf8", "--utf8 --matrix={}"])
def test_each_line_of_a_matrix_is_asked_for_with_the_options_beside_it(words: str, tmp_path: Path) -> None:
    path = tmp_path / "builds.txt"
    path.write_text("--checksum=fnv1a  # the first\n\n--checksum=crc32 --no-utf8 --table-size=64 --table-size=32\n")
    found = said(f"{words.format(path)} {ANNA}").asked
    assert [dict(sorted(one.compile.items())) for one in found] == [
        {"checksum": "fnv1a", "utf8": True},
        {"checksum": "crc32", "table_size": 64, "utf8": False},
        {"checksum": "crc32", "table_size": 32, "utf8": False},
    ]
    path.write_text("--utf8\n--foreground\n")
    assert f"{path}:2: a line of a matrix holds options of the project only" in refused(f"matrix {path} {ANNA}")
    path.write_text("# nothing\n")
    assert f"{path} asks for nothing" in refused(f"matrix {path} {ANNA}")


def test_the_help_names_every_option_with_what_it_accepts_and_all_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = helped("--help-all", capsys)
    for option in project().options.all():
        assert option.flag in words
    for part in (
        "100% of it", "--checksum {crc32,fnv1a}", "--table-size N", "--parts LIST", "--label TEXT", "--revision REV",
        "branch, tag or commit id to build", "default: 1024", "example:", "130  interrupted", "cancel [ID]",
    ):  # fmt: skip
        assert part in words


def test_a_short_help_has_what_is_needed_often_and_says_where_the_rest_is(capsys: pytest.CaptureFixture[str]) -> None:
    short, whole = helped("--help", capsys), helped("--help-all", capsys)
    for part in ("--checksum {crc32,fnv1a}", "--revision REV", "--foreground", "cancel [ID]", "example:", "--help-all"):
        assert part in short
    assert "--libc-version" in short, "a platform's options are named, and explained by the other help"
    for part in ("newest C library", "--use-tls", "purge-built-by SERVER", "exit codes:"):
        assert part not in short
        assert part in whole
    assert "exit codes:" in helped("cancel --help-all", capsys)
    assert "exit codes:" not in helped("cancel --help", capsys)


def test_the_help_fits_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    example = "bin/startcompile.py --revision"
    lines = [line for line in helped("--help", capsys).splitlines() if example not in line]
    assert max(map(len, lines)) < 80


def test_choices_that_are_too_long_for_the_help_are_listed_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    many = ProjectOptions(system=standard(), compile=(choice("codec", [f"codec-number-{n}" for n in range(5)]),))
    words = " ".join(helped("--help-all", capsys, project(many)).split())
    assert "--codec NAME one of codec-number-0, codec-number-1" in words


@pytest.mark.parametrize(
    ("words", "expected"), [("--help", "cancel [ID]"), ("cancel -h", "ID"), ("--version", "buildtool")]
)
def test_help_is_given_even_when_the_configuration_is_broken(
    words: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(path: Path | None) -> Settings:
        raise ConfigurationError("config.py: line 3 is wrong")

    with pytest.raises(SystemExit):
        parse(COMMAND_LINE, words.split(), broken)
    shown = capsys.readouterr().out
    assert expected in shown
    assert ("line 3 is wrong" in shown) == (words != "--version")
    with pytest.raises(ConfigurationError):
        parse(COMMAND_LINE, [ANNA], broken)


def test_the_configuration_named_is_the_one_that_is_read() -> None:
    seen: list[Path | None] = []

    def load(path: Path | None) -> Settings:
        seen.append(path)
        return settings()

    parse(COMMAND_LINE, [ANNA], load)
    parse(COMMAND_LINE, ["--utf8", "--config", "/etc/x.py", ANNA], load)
    parse(COMMAND_LINE, ["--config=/etc/y.py", ANNA], load)
    assert seen == [None, Path("/etc/x.py"), Path("/etc/y.py")]


def test_an_option_whose_flag_would_be_taken_is_a_mistake_of_the_configuration() -> None:
    clash = project(ProjectOptions((), (flag("x"), text("no_x"))))
    assert "no_x" in refused(ANNA, clash)


def test_no_project_has_an_option_that_is_one_of_ours_or_a_command() -> None:
    ours = {*COMMAND_LINE.options, *(one.flag for one in COMMAND_LINE.commands[1:] if one.older)}
    assert {name.removeprefix("--").replace("-", "_") for name in ours} <= RESERVED


def test_a_project_may_have_an_option_that_is_called_as_a_part_of_a_command_is(tmp_path: Path) -> None:
    odd = project(ProjectOptions((), (text("target"), text("ask"), text("left"))))
    path = tmp_path / "builds.txt"
    path.write_text("--target=ppc-linux\n")
    (asked,) = said(f"matrix {path} --ask=x --left cancel {ANNA}", odd).asked
    assert asked.compile == {"target": "ppc-linux", "ask": "x", "left": "cancel"}


@given(strategies.project_options(), st.data())
def test_whatever_a_project_describes_can_be_said_and_comes_out_as_it_was_meant(
    options: ProjectOptions, data: st.DataObject
) -> None:
    chosen = [option for option in options.compile if data.draw(st.booleans())]
    values = {option.name: data.draw(strategies.accepted_values(option)) for option in chosen}
    # An option without a default has to be said.
    for option in options.compile:
        if option.default is None and option.name not in values:
            values[option.name] = data.draw(strategies.accepted_values(option))
    by_name = {option.name: option for option in options.compile}
    arguments = [f"{by_name[name].flag}={written(value)}" for name, value in values.items()]
    _, found = parse(COMMAND_LINE, [*arguments, ANNA], lambda path: settings(project(options)))
    assert [one.compile for one in found.asked] == [values]


@given(st.lists(st.text(max_size=12) | st.sampled_from(["--checksum", "--utf8", "--parts=a", "--", ANNA]), max_size=6))
def test_arbitrary_words_are_understood_or_refused_in_one_line(arguments: list[str]) -> None:
    try:
        parse(COMMAND_LINE, arguments, lambda path: settings())
    except SystemExit:
        return
    except BuildToolError as error:
        assert "\n" not in " ".join(str(error).split()), error  # noqa: PT017 - both outcomes are right


def test_every_kind_of_option_has_a_flag() -> None:
    assert {option.kind for option in project().options.all()} == set(Kind)


@pytest.mark.parametrize("flag", ["--project", "--config", "--output"])
def test_a_flag_that_takes_one_value_is_not_said_twice_with_two(flag: str) -> None:
    words = refused(f"{flag}=tally {flag}=other {ANNA}")
    assert words.startswith(f"{flag}: is said twice, as tally and as other")


def test_the_same_value_may_be_said_twice() -> None:
    found = said(f"--host=tally --host tally. --project tally --project tally {ANNA}")
    assert found.settings is not None
    assert [one.where for one in found.addresses] == [f"tally:{found.settings.pb_port}"]


def test_several_addresses_of_a_metaserver_are_tried_in_the_order_in_which_they_are_said() -> None:
    found = said(f"--host a,b --host=[::1] --port 7 {ANNA}")
    assert [one.where for one in found.addresses] == ["a:7", "b:7", "[::1]:7"]
    found = said(f"--host TLS:a:1,tcp:b:2 {ANNA}")
    assert [(one.where, one.speech.value) for one in found.addresses] == [("a:1", "tls"), ("b:2", "tcp")]


@pytest.mark.parametrize("flags", ["--host tls:a:1 --port 2", "--host tls:a:1 --use-tls", "--host tls:a:1 --host b"])
def test_an_endpoint_string_is_refused_together_with_what_says_the_same(flags: str) -> None:
    assert "endpoint string" in refused(f"{flags} {ANNA}")


def test_help_names_the_projects_where_there_are_several(capsys: pytest.CaptureFixture[str]) -> None:
    several = [project(name=f"project{number}") for number in range(8)]
    shown = helped("--help", capsys, *several)
    assert ", ".join(one.name for one in several) in shown
    assert "--project NAME --help" in shown
    assert "projects of" not in helped("--help", capsys)
