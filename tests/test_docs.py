"""The manuals tell the truth: what they name exists in the programs, and what the programs have is in the manuals."""

import ast
import builtins
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
from docutils import nodes
from docutils.core import publish_doctree

from buildtool.configuration import mail_settings, settings
from buildtool.configuration.finding import CONFIG_VARIABLE
from buildtool.configuration.given.names import ENVIRONMENT
from buildtool.model.options import Kind
from buildtool.model.policy import Policy
from buildtool.model.properties import STANDARD, TOOLS
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import OfferKind
from buildtool.programs.buildserver import main as buildserver
from buildtool.programs.common.ending import EXIT_CODES
from buildtool.programs.common.subcommands import HELP_ALL, Subcommands
from buildtool.programs.metaserver import main as metaserver
from buildtool.programs.metaserver.offline_commands import METASERVER_CODES
from buildtool.programs.startcompile import main as startcompile
from buildtool.programs.updating import main as updating
from buildtool.programs.webserver import main as webserver
from buildtool.project.definition import Checked, Project
from buildtool.project.recipe import Plan, Wanted
from buildtool.protocol.messages import FoundArtifact, RequestStatus
from buildtool.requester.outcome import MEANINGS, ExitCode, RequestResult, as_json
from buildtool.scheduling.servers.declining import RULES
from tests.support import man_pages
from tests.support.checkout import read_checkout

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.rst"), *(ROOT / "changes.d").glob("*.rst"), *(ROOT / "docs").rglob("*.rst")])
RECORDS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
LINES: dict[str, Subcommands[Any]] = {
    one.COMMAND_LINE.program: one.COMMAND_LINE for one in (metaserver, webserver, buildserver, startcompile)
}
PROGRAMS = tuple(LINES)

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")

pytestmark = pytest.mark.xdist_group("docs")  # each program is asked for its help once


# --- reading ----------------------------------------------------------------------------------------------------


@cache
def parsed(path: Path) -> tuple[nodes.document, str]:
    """Return a page's tree, and what docutils had to say about it."""
    said = io.StringIO()
    overrides = {
        "report_level": 1,
        "halt_level": 5,
        "warning_stream": said,
        "syntax_highlight": "none",
        "raw_enabled": False,
        "file_insertion_enabled": True,
        "_disable_config": True,
    }
    tree = publish_doctree(path.read_text("utf-8"), source_path=str(path), settings_overrides=overrides)
    return tree, said.getvalue()


@cache
def tree(name: str) -> nodes.document:
    """The tree of a page, by its path below the checkout."""
    return parsed(ROOT / name)[0]


def section(page: str, title: str) -> nodes.section:
    """The one section of a page whose title is this."""
    found = [one for one in tree(page).findall(nodes.section) if one[0].astext() == title]
    assert len(found) == 1, f"{page} has {len(found)} sections called {title!r}"
    return found[0]


def rows(part: nodes.Element) -> list[list[str]]:
    """The rows of all tables below a node, heads included, as text."""
    return [[cell.astext() for cell in row.findall(nodes.entry)] for row in part.findall(nodes.row)]


def literals(part: nodes.Element) -> set[str]:
    return {literal.astext() for literal in part.findall(nodes.literal)}


def defined(part: nodes.Element) -> set[str]:
    """The flags that the definition lists below a node are about."""
    terms = (term.astext() for term in part.findall(nodes.term))
    return {flag for term in terms for flag in FLAG.findall(term)}


def typed(page: nodes.document) -> Iterator[str]:
    """Every command that a page's console blocks tell people to type."""
    for block in page.findall(nodes.literal_block):
        if "console" in block["classes"]:
            text = block.astext().replace("\\\n", " ")
            yield from (line[2:] for line in text.splitlines() if line.startswith("$ "))


@cache
def run(program: str, *arguments: str) -> str:
    """What a program of the checkout prints, without anything of the surroundings that configures it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BUILDTOOL_")}
    command = [sys.executable, str(ROOT / "bin" / program), *arguments]
    done = subprocess.run(
        command, env=environment | {"COLUMNS": "120"}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def helped(program: str) -> str:
    """All of a program's help."""
    return run(program, HELP_ALL if LINES[program].seldom else "--help")


def flags(program: str) -> set[str]:
    """The long options of a program's commands, and those of the checkout's project where it has some."""
    options = re.findall(r"^  (?:-\w(?: \w+)?, )?(--[a-z][^\s,=\[]*)(.*)$", helped(program), re.MULTILINE)
    shown = {flag for first, rest in options for flag in (first, *FLAG.findall(rest.split("  ")[0]))}
    return shown | set(LINES[program].options)


def codes(program: str) -> set[str]:
    """The exit codes in a program's --help."""
    told = helped(program).partition("exit codes:")[2]
    return set(re.findall(r"^ +([0-9]+)  ", told, re.MULTILINE))


# --- form -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_parses_without_a_word_from_docutils(path: Path) -> None:
    assert parsed(path)[1] == ""


@pytest.mark.parametrize("path", [*PAGES, *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.name)
def test_a_link_leads_to_a_file_that_is_there(path: Path) -> None:
    if path.suffix == ".md":
        targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
    else:
        document = parsed(path)[0]
        targets = [one["refuri"] for one in document.findall(nodes.reference) if "refuri" in one]
        targets += [one["uri"] for one in document.findall(nodes.image)]
    local = [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("mailto:")]
    missing = [target for target in local if target and not (path.parent / target).exists()]
    assert missing == []


ROOTS = (ROOT, ROOT / "buildtool", ROOT / "buildtool/adapters", ROOT / "buildtool/adapters/maintenance")
"""Where a path in a manual may begin."""

MADE = {"build", "dist", "var"}
"""Folders that tools make beside ours, here and not there; `build/15` is a subject of events."""

IN_THE_TEXT = {"my/config.py", "my/farm.py", "farm.py"}
"""Files that the tutorial has its reader write."""


@pytest.mark.parametrize("path", [*PAGES, *RECORDS], ids=lambda path: path.name)
def test_a_file_or_folder_of_ours_that_a_page_names_is_there(path: Path) -> None:
    """Literals that end in .py, or begin with a folder of the checkout or of buildtool/."""
    tops = {one.name for root in ROOTS[:2] for one in root.iterdir() if one.is_dir() and one.name[0] != "."} - MADE
    named = {
        text
        for text in said(path)
        if re.fullmatch(r"[\w./]+", text) and (text.endswith(".py") or (text.split("/")[0] in tops and "/" in text))
    } - IN_THE_TEXT
    made = ("var/", "bin/startcompile.py", "bin/buildserver.py")
    programs = {*PROGRAMS, "config.py"}
    asked = {text for text in named - programs if not text.startswith(made)}
    assert {text for text in asked if not any((root / text).exists() for root in ROOTS)} == set()


@pytest.mark.parametrize("path", [*PAGES, *RECORDS], ids=lambda path: path.name)
def test_a_dotted_name_of_ours_that_a_page_names_is_there(path: Path) -> None:
    """``buildtool.concurrency.periodic``, ``python -m tests.benchmarks``, ``timers.next_due``, also within commands."""
    text = path.read_text("utf-8")
    named = set(re.findall(r"(?<![\w./])(?:buildtool|tests|web)(?:\.[a-zA-Z_]\w*)+(?![\w/-])", text))
    assert {name for name in named - OF_THE_LOG if not found(name)} == set()


OF_THE_LOG = {"buildtool.sqlite"}


def found(name: str) -> bool:
    """Whether a dotted name is a module or a package of the checkout, or a name that one has at its top."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        at = ROOT.joinpath(*parts[:size])
        if at.is_dir() or at.with_suffix(".py").is_file():
            inside = at / "__init__.py" if at.is_dir() else at.with_suffix(".py")
            rest = parts[size:]
            return not rest or (
                inside.is_file() and re.search(rf"\b{rest[0]}\b", inside.read_text("utf-8")) is not None
            )
    return False


@pytest.mark.parametrize("path", [*PAGES, *RECORDS], ids=lambda path: path.name)
def test_a_class_that_a_page_names_is_one_of_ours(path: Path) -> None:
    named = {text.partition(".")[0] for text in said(path) if re.fullmatch(r"(?:[A-Z][a-z]+)+(?:\.[a-z_]+)?", text)}
    assert named - classes() - set(dir(builtins)) - OF_OTHERS == set()


@cache
def classes() -> set[str]:
    """Return the names of all classes of the checkout, and of what its modules name besides (unions of classes)."""
    nodes_of_all = [node for module in read_checkout(ROOT).modules.values() for node in ast.walk(module.tree)]
    named = {node.id for node in nodes_of_all if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return named | {node.name for node in nodes_of_all if isinstance(node, ast.ClassDef)}


OF_OTHERS = {"StrictUndefined"}
"""Classes of libraries that records of decisions name."""


def said(path: Path) -> set[str]:
    """Return the literals of a page."""
    if path.suffix == ".md":
        return set(re.findall(r"`([^`\n]+)`", path.read_text("utf-8")))
    return literals(parsed(path)[0])


def test_every_manual_is_in_the_index() -> None:
    listed = {one["refuri"] for one in tree("docs/index.rst").findall(nodes.reference)}
    assert listed == {path.name for path in (ROOT / "docs").glob("*.rst") if path.name != "index.rst"} | {
        "adr/README.md",
        "runbooks/index.rst",
    }


def test_the_records_are_numbered_without_gaps_and_listed_under_their_titles() -> None:
    titles = {path.name: path.read_text("utf-8").splitlines()[0] for path in RECORDS}
    listed = re.findall(
        r"^\| \[(\d+)\]\((\S+)\) \| (.*) \|$", (ROOT / "docs/adr/README.md").read_text("utf-8"), re.MULTILINE
    )
    assert {name: f"# {number}. {title}" for number, name, title in listed} == titles
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))
    assert [int(number) for number, _, _ in listed] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_has_the_parts_of_a_record(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[2].startswith("Status: ")
    heads = [line for line in lines if line.startswith("## ")]
    assert heads == ["## Context", "## Decision", "## Consequences"]


# --- programs ---------------------------------------------------------------------------------------------------


def of_project(name: str, config: Path) -> set[str]:
    """The flags that a project's options become."""
    options = settings.load_settings(config, secrets=False).project(name).options.all()
    return {option.flag for option in options} | {
        f"--no-{option.flag[2:]}" for option in options if option.kind is Kind.BOOL
    }


OF_EXAMPLE = of_project("testproject", ROOT / "config.py")
OF_LUA = of_project("lua", ROOT / "examples" / "lua" / "farm.py")

HEAD = "Commands and options"
OF_BOTH = {"--json", "--config", "--settings-file", "--verbose", "--version", "--help"}
OPTIONS = [
    ("docs/operator.rst", f"{HEAD} of bin/metaserver", "metaserver", {"--repair", "--reason TEXT", "--mail ADDRESS"}),
    ("docs/operator.rst", f"{HEAD} of bin/webserver", "webserver", OF_BOTH),
    ("docs/donor.rst", HEAD, "buildserver.py", set()),
    ("docs/requester.rst", HEAD, "startcompile.py", OF_EXAMPLE),
]


@pytest.mark.parametrize(("page", "title", "program", "elsewhere"), OPTIONS, ids=[one[2] for one in OPTIONS])
def test_a_manual_explains_exactly_the_options_of_its_program(
    page: str, title: str, program: str, elsewhere: set[str]
) -> None:
    """``elsewhere`` are those that the section only names: explained above it, or of the example project."""
    part = section(page, title)
    assert elsewhere <= literals(part)
    assert defined(part) | {one.split()[0] for one in elsewhere} == flags(program)


@pytest.mark.parametrize(("page", "title", "program"), [one[:3] for one in OPTIONS], ids=[one[2] for one in OPTIONS])
def test_a_manual_explains_exactly_the_commands_of_its_program(page: str, title: str, program: str) -> None:
    terms = section(page, title).findall(nodes.term)
    words = {word.astext() for term in terms for word in term.findall(nodes.literal)}
    commands = {f"{one.name} {one.usage}".rstrip() for one in LINES[program].commands[1:]}
    assert {word for word in words if not word.startswith("-")} == commands


def test_each_name_of_ours_that_those_who_know_buildbot_are_told_is_an_option_of_a_start() -> None:
    part = section("docs/donor.rst", "For those who know Buildbot")
    cells = [tuple(row.findall(nodes.entry)) for row in part.findall(nodes.row)][1:]
    ours = {word for _, here in cells for word in literals(here)}
    start = next(one for one in buildserver.COMMAND_LINE.commands if one.name == "serve")
    known = {*start.options, *buildserver.COMMAND_LINE.everywhere}
    named = {word for word in ours if word.startswith("--")}
    assert len(named) > 15
    assert named <= known
    theirs = " ".join(there.astext() for there, _ in cells)
    options = set(FLAG.findall(theirs))
    assert {"--umask", "--keepalive", "--numcpus", "--usepty", "--maxretries", "--log-count"} <= options
    assert options & known <= named  # what has the same name here is told under it


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_flag_that_a_page_mentions_is_one_of_some_program(path: Path) -> None:
    older = {one.flag for line in LINES.values() for one in line.commands[1:]}
    known = (
        {flag for program in PROGRAMS for flag in flags(program)}
        | older
        | {"--port"}
        | set(updating.COMMAND_LINE.options)
    )
    examples = {
        "--arch",
        "--suffix",
        "--modules",
        "--name",
        "--no-name",
        "--enable-",
        "--no-as-needed",
        "--strip-components",
        "--shuffle",
        "--cold",
        "--upgrade",
        "--opt",
        "--translation-gc",
        "--translation-backendopt-inline",
        "--build-arg",
        "--cap-add",
        "--cap-drop",
        "--cgroups",
        "--isolation",
        "--privileged",
        "--security-opt",
        "--ulimit",
        "--user",
        "--delete",
    }  # of other projects and programs, or of the table of descriptions
    mentioned = {flag for text in literals(parsed(path)[0]) for flag in FLAG.findall(text)}
    assert mentioned - known - examples - OF_LUA == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_command_to_type_has_only_options_that_its_program_takes(path: Path) -> None:
    for command in typed(parsed(path)[0]):
        for program, arguments in re.findall(r"bin/([\w.]+)((?: [^&|;]*)?)", command):
            if program in PROGRAMS:
                lua = OF_LUA if path.name == "tutorial.rst" and program == "startcompile.py" else set()
                tried = OF_EXAMPLE if program == "buildserver.py" and " try " in arguments else set()
                assert set(FLAG.findall(arguments)) <= flags(program) | lua | tried, command


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_program_or_target_to_type_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    document = parsed(path)[0]
    commands = [*typed(document), *literals(document)]
    assert {found for line in commands for found in re.findall(r"^make ([a-z][a-z-]*)", line)} <= targets
    programs = {found for line in commands for found in re.findall(r"(?<![\w./])bin/([\w.]+)", line)}
    assert programs <= {*PROGRAMS, "python"}


@pytest.mark.parametrize(
    ("page", "programs"),
    [
        ("docs/operator.rst", ("metaserver", "webserver")),
        ("docs/donor.rst", ("buildserver.py",)),
        ("docs/requester.rst", ("startcompile.py",)),
    ],
    ids=str,
)
def test_the_table_of_exit_codes_has_those_of_the_help(page: str, programs: tuple[str, ...]) -> None:
    documented = {row[0] for row in rows(section(page, "Exit codes")) if row[0].isdigit()}
    assert set().union(*map(codes, programs)) == documented
    assert all({str(code) for code in EXIT_CODES} <= codes(program) for program in programs)


def test_the_tables_of_json_have_exactly_the_keys_that_are_printed() -> None:
    found = FoundArtifact("n", "u", 1, "d", "c", "r", (), OfferKind.NATIVE, "s", 1, 0.0)
    told = RequestStatus(1, "t", "hit", "satisfied", "p", "r", 1, "", 1, "s", "", (), found, "", "")
    part = section("docs/requester.rst", "For programs")
    tables = [{row[0] for row in rows(table)} for table in part.findall(nodes.table)]
    assert tables[0] == set(as_json(RequestResult(ExitCode.OK)))
    answered = as_json(RequestResult(ExitCode.OK, told))
    assert tables[0] | tables[1] == set(answered)
    last = next(row for row in part.findall(nodes.row) if row.astext().startswith("artifact"))
    artifact = answered["artifact"]
    assert isinstance(artifact, dict)
    assert literals(last) - {"artifact", "null"} == set(artifact)


def test_the_meanings_of_exit_codes_are_in_the_words_of_the_help() -> None:
    documented = {row[0]: row[1] for row in rows(section("docs/requester.rst", "Exit codes"))}
    assert documented == {str(int(code)): meaning for code, meaning in MEANINGS.items()}
    documented = {row[0]: row[1] for row in rows(section("docs/operator.rst", "Exit codes"))}
    assert documented == {str(code): meaning for code, meaning in METASERVER_CODES.items()}
    documented = {row[0]: row[1] for row in rows(section("docs/donor.rst", "Exit codes"))}
    told = run("buildserver.py", "--help").partition("exit codes:")[2]
    assert documented == dict(re.findall(r"^ +([0-9]+)  (.*)$", told, re.MULTILINE))


def test_what_the_operator_is_shown_of_check_config_is_what_it_says() -> None:
    shown = next(
        block.astext()
        for block in tree("docs/operator.rst").findall(nodes.literal_block)
        if block.astext().startswith("$ bin/metaserver check-config")
    )
    told = shown.partition("\n")[2].partition("\n$ ")[0]
    assert told.replace("/work/farm", str(ROOT)) == run("metaserver", "check-config").strip()


def test_what_the_donor_is_shown_of_show_info_has_the_lines_that_it_has() -> None:
    shown = next(
        block.astext()
        for block in tree("docs/donor.rst").findall(nodes.literal_block)
        if block.astext().startswith("$ bin/buildserver.py show-info")
    )
    labels = {re.split(r" {2,}", line.strip())[0] for line in shown.splitlines()[1:] if line != "..."}
    told = {re.split(r" {2,}", line.strip())[0] for line in run("buildserver.py", "show-info").splitlines()}
    assert labels <= told


def test_the_donors_commands_for_a_start_work_as_they_are_printed(tmp_path: Path) -> None:
    """Each gets as far as the metaserver, which is not there; only what needs another account is left out."""
    commands = [command for command in typed(tree("docs/donor.rst")) if "useradd" not in command]
    places = {"/etc/buildtool": f"{tmp_path}/etc", "/home/buildtool": f"{tmp_path}/home", "~/": f"{tmp_path}/"}
    starts = 0
    for command in commands:
        for place, ours in places.items():
            command = command.replace(place, ours)  # noqa: PLW2901 - the same one, here
        command = command.replace("sudo -u buildtool -H ", "").replace("sudo ", "")  # noqa: PLW2901
        start = "--name attic" in command
        starts += start
        if start or command.startswith(("mkdir", "cp")):
            more = " --host 127.0.0.1 --port 1 --maxretries 1 --no-cross" if start else ""
            command = command.replace("--host farm.example.org ", "")  # noqa: PLW2901
            environment = {name: value for name, value in os.environ.items() if not name.startswith("BUILDTOOL_")}
            environment |= {"BUILDTOOL_BUILD_DIR": f"{tmp_path}/else"}
            done = subprocess.run(
                ["sh", "-c", command.replace("bin/buildserver.py", f"{sys.executable} bin/buildserver.py") + more],
                cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == (7 if start else 0), (command, done.stderr)
    assert starts == 2
    assert (tmp_path / "home" / "builds" / "attic" / "lock").exists()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_man_page_says_what_the_parsers_of_its_program_say(program: str) -> None:
    page = (man_pages.FOLDER / f"{program}.1").read_text("utf-8")
    assert page == man_pages.man_page(LINES[program]), "the command line has changed: run `make man`"
    for one in LINES[program].commands:
        assert one.name.replace("-", "\\-") in page


# --- settings ---------------------------------------------------------------------------------------------------


def test_the_operator_is_told_of_every_setting_and_of_no_other() -> None:
    table = rows(section("docs/operator.rst", "Settings"))
    heads = [number for number, row in enumerate(table) if row[0] == "setting"]
    documented = {row[0] for row in table[heads[0] + 1 : heads[1]]}
    assert documented == set(settings._SETTINGS)
    assert {row[0] for row in table[heads[1] + 1 :]} == set(mail_settings._MAIL)


def test_the_operator_is_told_which_variable_goes_before_which_setting() -> None:
    table = rows(section("docs/operator.rst", "Settings"))
    heads = [number for number, row in enumerate(table) if row[0] == "setting"]
    documented = {
        row[1]: ("mail." if number > heads[1] else "") + row[0]
        for number, row in enumerate(table)
        if row[1].startswith("BUILDTOOL_")
    }
    assert documented.items() <= ENVIRONMENT.items()
    assert len(documented) > 20
    assert f"${CONFIG_VARIABLE}" in literals(tree("docs/operator.rst"))


def test_the_deployments_own_file_shows_every_setting_with_its_variable() -> None:
    text = (ROOT / "config.py").read_text("utf-8")
    assert set(re.findall(r"^(?:# )?([a-z_]+) = ", text, re.MULTILINE)) == set(settings._SETTINGS)
    assert set(re.findall(r"BUILDTOOL_[A-Z_]+", text)) <= {*ENVIRONMENT, CONFIG_VARIABLE}


def test_the_defaults_in_the_tables_are_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path / "config.py"
    empty.write_text("")
    found = settings.load_settings(empty)
    words = {row[0]: row[2] for row in rows(section("docs/operator.rst", "Settings")) if len(row) > 2}
    for name in ("pb_port", "transfer_port", "web_port"):
        assert str(getattr(found, name)) in words[name]
    for name in ("state_dir", "build_dir"):
        assert str(getattr(found, name).relative_to(tmp_path)) in words[name]
    assert found.host in rows(section("docs/operator.rst", "Settings"))[1][2]


def test_the_ports_in_the_manual_are_those_of_the_checkout() -> None:
    documented = {row[1]: row[0] for row in rows(section("docs/operator.rst", "Ports"))}
    found = settings.load_settings(ROOT / "config.py")
    assert documented == {name: str(getattr(found, name)) for name in ("pb_port", "transfer_port", "web_port")}


def test_the_pages_that_the_operator_is_told_of_are_routes_of_the_pages() -> None:
    from buildtool.web.app import SECTIONS

    routes = {re.sub(r"<(?:path:)?\w+>", "<id>", route.path) for one in SECTIONS for route, _ in one.routes()}
    routes = {path for path in routes if not path.startswith(("/api/v1/", "/acts/"))}  # docs/api.rst has these
    told = {
        text
        for text in literals(tree("docs/operator.rst"))
        if re.match(r"/(?!etc|backup|acts)[a-z/<>-]*(\.(csv|json|atom|svg))?$", text)
    }
    assert told <= routes
    assert routes - told <= {"/change_hook/github", "/builds/<id>", "/static/<id>", "/favicon.ico", "/robots.txt"}


def test_the_page_of_the_api_has_every_route_with_its_message_answer_and_act() -> None:
    from buildtool.protocol.api.routes import ROUTES

    table = rows(section("docs/api.rst", "Routes"))
    assert [tuple(row[:3]) for row in table[1:]] == [
        (f"{one.method} {one.path}", one.words, one.act.word) for one in ROUTES
    ]


def test_the_page_of_the_api_has_every_code_with_its_status() -> None:
    from buildtool.web.answers import STATUSES

    documented = {(row[0], row[1]) for row in rows(section("docs/api.rst", "Problems"))[1:]}
    assert {(kind.code, str(status)) for kind, status in STATUSES.items()} <= documented


# --- the integrator's example -----------------------------------------------------------------------------------


def test_the_integrator_is_told_the_role_and_direction_of_every_property() -> None:
    table = rows(section("docs/integrator.rst", "System options: for which platform, on which machine"))
    documented = {row[0]: (row[1], row[2]) for row in table[1:]}
    assert documented == {name: (one.role.value, one.comparison.value) for name, one in STANDARD.items()}


def test_the_integrator_is_told_of_every_program_that_is_looked_for() -> None:
    quotes = section("docs/integrator.rst", "The recipe").findall(nodes.block_quote)
    assert TOOLS in [tuple(one.astext() for one in quote.findall(nodes.literal)) for quote in quotes]


def test_the_integrator_is_told_of_everything_that_a_project_may_set() -> None:
    table = rows(section("docs/integrator.rst", "The project, and whose failure it is"))
    head = next(number for number, row in enumerate(table) if row[0] == "setting")
    documented = [row[0] for row in table[head + 1 : head + 1 + len(attrs.fields(Project))]]
    assert set(documented) == {field.name for field in attrs.fields(Project)}
    defaults = {row[0]: row[1] for row in table[head + 1 : head + 1 + len(documented)]}
    numbers = {f.name: f.default for f in attrs.fields(Project) if isinstance(f.default, int | float)}
    assert {name: amount(defaults[name]) for name in numbers} == numbers


def amount(words: str) -> float:
    """The number of seconds, bytes or things that a table's words stand for."""
    number, _, unit = words.partition(" ")
    units = {"day": 86_400, "hour": 3_600, "minute": 60, "GiB": 1024**3, "MiB": 1024**2, "": 1}
    return int(number) * units[unit.removesuffix("s")]


def test_the_integrator_is_told_of_every_end_and_whether_it_costs_a_strike() -> None:
    table = rows(section("docs/integrator.rst", "The project, and whose failure it is"))
    head = next(number for number, row in enumerate(table) if row[0] == "end")
    told = {row[0]: row[2] for row in table[head + 1 : head + 1 + len(AttemptEnd)]}
    assert set(told) == {end.value for end in AttemptEnd}
    strikes = {name for name, said in told.items() if "a strike" in said}
    assert strikes == {end.value for end, rule in RULES.items() if rule.strike}
    projects = {name for name, said in told.items() if said.startswith("the project's")}
    assert projects == {end.value for end in AttemptEnd if end not in RULES and end is not AttemptEnd.SUCCEEDED}


def test_the_integrator_is_told_of_all_of_the_schedulers_figures_with_their_defaults() -> None:
    text = " ".join(section("docs/integrator.rst", "The project, and whose failure it is").astext().split())
    own = {"recipe_version", "options_digest", "comparisons"} | {field.name for field in attrs.fields(Project)}
    told = dict(re.findall(r"([a-z]+_[a-z]+|breakages|strikes) \((\d+)\)", text))
    assert told == {f.name: f"{f.default:.0f}" for f in attrs.fields(Policy) if f.name not in own}


@pytest.mark.parametrize("cls", [Wanted, Plan, Checked], ids=lambda cls: cls.__name__)
def test_the_integrator_is_told_of_every_part_of_what_recipes_and_checkers_see(cls: type[attrs.AttrsInstance]) -> None:
    assert {field.name for field in attrs.fields(cls)} <= literals(tree("docs/integrator.rst"))


def test_the_code_that_the_integrator_is_shown_is_in_the_example() -> None:
    """Each line stands in testproject/config.py; the first block is of the deployment's own file.

    The one of triggers is tried by tests/project/test_triggers.py.
    """
    example = {line.strip() for line in (ROOT / "testproject/config.py").read_text("utf-8").splitlines()}
    blocks = [b for b in tree("docs/integrator.rst").findall(nodes.literal_block) if "python" in b["classes"]]
    texts = [text for text in (block.astext() for block in blocks[1:]) if not text.startswith("from buildtool.project")]
    shown = [line.strip() for text in texts for line in text.splitlines()]
    bare = {re.sub(r"  # .*", "", line) for line in example}
    assert [line for line in shown if line and line != "..." and line not in example | bare] == []


def test_the_code_of_the_tutorial_is_in_its_example() -> None:
    """The first two blocks are whole files, which test_lua.py tries; two are of zlib and of a deployment."""
    example = {line.strip() for line in (ROOT / "examples/lua/config.py").read_text("utf-8").splitlines()}
    blocks = [b.astext() for b in tree("docs/tutorial.rst").findall(nodes.literal_block) if "python" in b["classes"]]
    others = [block for block in blocks[2:] if block.startswith(("environment=", "projects = ["))]
    assert len(others) == 2
    shown = [line.strip() for block in blocks[2:] if block not in others for line in block.splitlines()]
    assert [line for line in shown if line and line not in example] == []
