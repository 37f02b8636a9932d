"""Where the settings file is, who may read it, and what is no such file."""

import os
from pathlib import Path

import pytest

from buildtool.configuration.given.reading import SIZE_LIMIT, given_again, given_here, settings_text
from buildtool.errors import ConfigurationError


def test_the_file_is_the_one_an_option_names_or_else_the_variable_or_else_the_usual_one(tmp_path: Path) -> None:
    for name in ("said", "named", "usual"):
        (tmp_path / name).write_text(f"title = '{name}'")
    named = {"BUILDTOOL_SETTINGS": str(tmp_path / "named")}
    usual = tmp_path / "usual"
    found = [
        settings_text(tmp_path / "said", named, usual=usual),
        settings_text(None, named, usual=usual),
        settings_text(None, {"BUILDTOOL_SETTINGS": ""}, usual=usual),
    ]
    assert [one.path.name for one in found if one is not None] == ["said", "named", "usual"]
    assert settings_text(None, {}, usual=tmp_path / "none") is None


def test_a_file_that_is_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no such settings file \(named by \$BUILDTOOL_SETTINGS\)"):
        settings_text(None, {"BUILDTOOL_SETTINGS": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match=r"named by --settings-file"):
        settings_text(tmp_path / "none" / "none", {})


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o600, False), (0o640, False), (0o644, True)])
def test_who_may_read_it_is_told(tmp_path: Path, mode: int, open_to_all: bool) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("")
    path.chmod(mode)
    found = settings_text(path, {})
    assert found is not None
    assert found.open_to_all == open_to_all


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"", 0o602, "everybody on this machine may change it: chmod o-w"),
        (b"\xff", 0o600, "is no text in UTF-8"),
        (b"#" * (SIZE_LIMIT + 1), 0o600, "is no file of at most 256 KiB"),
    ],
)
def test_what_is_no_settings_file_is_refused_in_one_line(tmp_path: Path, content: bytes, mode: int, said: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=said):
        settings_text(path, {})


def test_a_file_of_an_editor_that_marks_utf_8_is_read_without_the_mark(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(b"\xef\xbb\xbftitle = 'attic'")
    found = settings_text(path, {})
    assert found is not None
    assert found.text == "title = 'attic'"


def test_a_name_beside_a_directory_that_went_is_not_blamed_on_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    there.rmdir()
    with pytest.raises(ConfigurationError, match=r"this file is \(\$BUILDTOOL_SETTINGS\), is not there any more"):
        settings_text(None, {"BUILDTOOL_SETTINGS": "settings.toml"})


def test_what_might_have_no_end_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match=r"is no file|cannot be read"):
            settings_text(path, {})


def test_it_is_read_anew_where_the_configuration_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("title = 'one'")
    first = given_here("metaserver", {}, path)
    path.write_text("title = 'two'")
    assert [given_again(first).settings["title"].value, first.settings["title"].value] == ["two", "one"]
    monkeypatch.setenv("BUILDTOOL_TITLE", "three")
    assert given_again(first).settings["title"].value == "three"
