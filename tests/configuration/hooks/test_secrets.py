"""The setting ``hook_secrets``: files of projects, one or two, which others do not read."""

from pathlib import Path

import pytest

from buildtool.configuration.hooks.secrets import check_hooked, read_hook_secrets
from buildtool.errors import ConfigurationError
from buildtool.model.hooks.secrets import HookSecrets
from tests.fakes_build import project

PROJECTS = (project(),)


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_secrets_of_one_file_or_two_are_read_beside_the_configuration(tmp_path: Path) -> None:
    written(tmp_path / "old", "a secret that is long\n")
    written(tmp_path / "new", "another that is as long\n")
    for said, expected in (("old", 1), (["old"], 1), (["old", "new"], 2)):
        found = read_hook_secrets(tmp_path / "config.py", {"paint": said}, secrets=True)
        assert len(found.of("paint")) == expected
        assert found.of("other") == ()
        assert "long" not in repr(found)
    unread = read_hook_secrets(tmp_path / "config.py", {"paint": "not-there"}, secrets=False)
    assert unread.files == {"paint": (str(tmp_path / "not-there"),)}
    assert unread.of("paint") == ()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("old", "is a dictionary such as"),
        ({1: "old"}, "is no project's name"),
        ({"paint": []}, "has 0 files"),
        ({"paint": ["old", "old", "old"]}, "has 3 files"),
        ({"paint": 3}, "is a path"),
        ({"paint": "absent"}, "absent cannot be read"),
        ({"paint": "open"}, "chmod 600"),
        ({"paint": "short"}, "new-secret makes one"),
        ({"paint": "odd"}, "new-secret makes one"),
        ({"paint": "mark"}, "new-secret makes one"),
        ({"paint": "blank"}, "without blanks around it"),
        ({"paint": "bell"}, "new-secret makes one"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, said: object, expected: str) -> None:
    written(tmp_path / "open", "a secret that is long\n", 0o644)
    written(tmp_path / "short", "123456789\n")
    written(tmp_path / "odd", "a secret that is l\u00f6ng\n")
    written(tmp_path / "mark", "\ufeffa secret that is long\n")
    written(tmp_path / "blank", "a secret that is long \n")
    written(tmp_path / "bell", "a secret that\0is long\n")
    with pytest.raises(ConfigurationError) as caught:
        read_hook_secrets(tmp_path / "config.py", said, secrets=True)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_project_is_said_with_the_nearest_that_is() -> None:
    check_hooked(HookSecrets({"paint": ()}), PROJECTS)
    with pytest.raises(ConfigurationError, match="'pain' is no project: did you mean paint"):
        check_hooked(HookSecrets({"pain": ()}), PROJECTS)
