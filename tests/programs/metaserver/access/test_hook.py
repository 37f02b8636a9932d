"""What to enter at a forge: the URL of the pages, the files of the secrets, and never a secret itself."""

import json
from pathlib import Path

import pytest

from buildtool.configuration.settings import load_settings
from buildtool.errors import UsageError
from buildtool.model.hooks.signing import ForgeKind
from buildtool.programs.metaserver.access.hook import ENTRIES, hook_lines, hook_of
from buildtool.programs.metaserver.main import main
from buildtool.protocol.hooks.payload import event_in
from tests.support.hooks import commented, created, pull, push

ROOT = Path(__file__).resolve().parents[4]


def configured(directory: Path, more: str = "") -> Path:
    """Write a configuration with one project."""
    path = directory / "config.py"
    text = f"projects = [load({str(ROOT / 'testproject/config.py')!r})]\n"
    path.write_text(text + more)
    return path


def test_it_says_what_to_enter_and_reads_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hooks = (
        'hook_secrets = {"testproject": ["secrets/old", "secrets/new"]}\npublic_url = "https://farm.example.org/ci/"\n'
    )
    path = configured(tmp_path, hooks)
    assert main(["hook", "testproject", "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "https://farm.example.org/ci/hook/testproject" in said
    assert f"the line in {tmp_path}/secrets/old or in {tmp_path}/secrets/new" in said
    assert main(["hook", "testproject", "--json", "--config", str(path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["content_type"], told["tls_verification"]) == ("application/json", "on")
    assert [one["forge"] for one in told["forges"]] == ["GitHub", "GitLab", "Gitea and Forgejo"]


def test_a_project_that_takes_none_is_told_how_it_would_and_one_that_is_none_that_it_is_not(tmp_path: Path) -> None:
    settings = load_settings(configured(tmp_path), secrets=False)
    with pytest.raises(UsageError, match="new-secret hook-testproject"):
        hook_of(settings, "testproject")
    with pytest.raises(UsageError, match="unknown project 'testprojekt'"):
        hook_of(settings, "testprojekt")


def test_over_plain_http_it_says_what_does_not_work(tmp_path: Path) -> None:
    path = configured(tmp_path, 'hook_secrets = {"testproject": "s"}\npublic_url = "http://farm.example.org"\n')
    lines = "\n".join(hook_lines(hook_of(load_settings(path, secrets=False), "testproject")))
    assert "this URL is plain HTTP" in lines
    assert "GitLab sends its token as it is" in lines


def test_every_event_that_is_to_be_entered_is_one_that_is_read() -> None:
    bodies = {"push": push(), "create": created("v1", "tag"), "pull_request": pull(), "issue_comment": commented()}
    for forge in (ENTRIES[0], ENTRIES[2]):
        assert set(forge.events) == set(bodies)
    for event, body in bodies.items():
        assert type(event_in(ForgeKind.GITHUB, event, body)).__name__ != "Unheeded"
