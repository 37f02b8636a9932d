"""Where the metaserver is without a configuration, and what is kept of what it described."""

import hashlib
import json
import shlex
from pathlib import Path

import pytest

from buildtool.configuration.given.reading import given_here
from buildtool.errors import DecodeError, UsageError
from buildtool.model.access.metaserver_addresses import MetaserverAddress
from buildtool.model.options import canonical_json, flag
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.programs.startcompile.command_line import parse
from buildtool.programs.startcompile.description_cache import keep, kept
from buildtool.programs.startcompile.main import COMMAND_LINE
from buildtool.programs.startcompile.places import called_again, places_without_configuration
from buildtool.protocol.hello import ProjectsDescribed
from buildtool.protocol.projects.described import read_told
from tests.programs.startcompile.test_command_line import project, settings

HERE = (MetaserverAddress("farm.example.org", 23432),)


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("BUILDTOOL_HOST", "BUILDTOOL_PB_PORT"):
        monkeypatch.delenv(name, raising=False)


def told(*projects: dict[str, object]) -> ProjectsDescribed:
    text = canonical_json({"projects": list(projects)})
    return ProjectsDescribed(hashlib.sha256(text.encode()).hexdigest(), text)


def as_described(name: str = "tally", options: ProjectOptions | None = None) -> dict[str, object]:
    return {"name": name, "description": "", "options": (options or project().options).describe()}


def test_what_was_kept_is_that_of_its_metaserver_and_of_no_other() -> None:
    assert kept(HERE) is None
    keep(HERE, told(as_described()))
    found = kept(HERE)
    assert found is not None
    assert found.digest == told(as_described()).digest
    assert kept((MetaserverAddress("other.example.org", 23432),)) is None
    assert kept(()) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"digest": "x", "text": "{}"}', "[" * 100_000, '{"digest": 1, "text": 2}']
)
def test_what_is_kept_and_of_no_use_is_as_if_it_was_not_there(text: str, tmp_path: Path) -> None:
    keep(HERE, told(as_described()))
    (path,) = (tmp_path / "XDG_CACHE_HOME" / "buildtool" / "projects").iterdir()
    path.write_text(text)
    assert kept(HERE) is None


def test_a_cache_that_cannot_be_written_is_none(tmp_path: Path) -> None:
    (tmp_path / "XDG_CACHE_HOME").write_text("a file")
    keep(HERE, told(as_described()))
    assert kept(HERE) is None


def test_a_digest_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DecodeError, match="does not fit"):
        read_told(ProjectsDescribed("0" * 64, told(as_described()).text), "there")


def test_the_metaserver_is_where_the_environment_says_or_where_somebody_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places_without_configuration(given_here()) == ()
    farms = tmp_path / "XDG_CONFIG_HOME" / "buildtool" / "metaservers"
    for name in ("one", "two"):
        (farms / name).mkdir(parents=True)
        (farms / name / "identity.json").write_text(json.dumps({"addresses": [[f"{name}.example.org", 443]]}))
        if name == "one":
            assert [one.where for one in places_without_configuration(given_here())] == ["one.example.org:443"]
    with pytest.raises(UsageError, match=r"one.example.org:443 and two.example.org:443: say which with --host"):
        places_without_configuration(given_here())
    monkeypatch.setenv("BUILDTOOL_HOST", "farm.example.org")
    assert [one.where for one in places_without_configuration(given_here())] == ["farm.example.org:23432"]
    monkeypatch.setenv("BUILDTOOL_PB_PORT", "1234")
    assert [one.where for one in places_without_configuration(given_here())] == ["farm.example.org:1234"]


def test_what_the_metaserver_describes_decides_and_a_configuration_that_says_something_else_is_named() -> None:
    newer = ProjectOptions(standard(), (flag("shiny"),))
    projects = read_told(told(as_described(options=newer)), "there")
    words = ["--shiny", "anna@example.org"]
    with pytest.raises(UsageError, match="unknown option --shiny"):
        parse(COMMAND_LINE, words, lambda _path: settings())
    _, said = parse(COMMAND_LINE, words, lambda _path: settings(), lambda _addresses: projects)
    assert said.asked[0].compile == {"shiny": True}
    assert (said.differs, said.digest) == (True, projects.digest)
    same = read_told(told(as_described()), "there")
    _, said = parse(COMMAND_LINE, ["--utf8", "anna@example.org"], lambda _path: settings(), lambda _addresses: same)
    assert said.differs is False


def test_without_any_description_the_command_is_known_and_its_options_are_left_for_later() -> None:
    words = ["--host", "farm.example.org", "--utf8", "--output", "x", "anna@example.org"]
    command, said = parse(COMMAND_LINE, words, lambda _path: None)
    assert (command.name, said.wants, said.asked, said.output) == ("ask", True, (), "x")
    assert [one.where for one in said.addresses] == ["farm.example.org:23432"]


def test_the_help_lists_the_projects_of_the_metaserver(capsys: pytest.CaptureFixture[str]) -> None:
    projects = read_told(told(as_described("lua"), as_described("tally")), "farm.example.org:23432")
    with pytest.raises(SystemExit):
        parse(COMMAND_LINE, ["--help", "--host", "x"], lambda _path: None, lambda _addresses: projects)
    said = capsys.readouterr().out
    assert "projects of the metaserver at farm.example.org:23432:\n  lua, tally" in said
    with pytest.raises(SystemExit):
        parse(
            COMMAND_LINE, ["--project", "lua", "--help", "--host", "x"], lambda _path: None, lambda _addresses: projects
        )
    assert "--table-size" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "called"),
    [
        ("--foreground ann@example.org", "sc"),
        ("--host farm --port=1 --project x --use-tls a@b", "sc --host farm --port=1 --use-tls"),
        ("--config /my/config.py a@b -- --host x", "sc --config /my/config.py"),
        ("--host 'tls:farm:1:trustRoots=/my keys' a@b", "sc --host 'tls:farm:1:trustRoots=/my keys'"),
        ("--host", "sc --host ''"),
    ],
)
def test_the_command_that_is_told_to_go_on_with_leads_to_the_same_metaserver(words: str, called: str) -> None:
    assert called_again("sc", shlex.split(words)) == called
