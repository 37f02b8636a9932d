"""What the system refuses a program is one line, which speaks of limits where these are why."""

import errno

import pytest

from buildtool.programs.common import launch


@pytest.mark.parametrize(("number", "limit"), [(errno.EMFILE, True), (errno.ENOENT, False), (errno.EROFS, False)])
def test_limits_of_the_account_are_named_where_one_was_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, limit: bool
) -> None:
    def refused(_module: str) -> None:
        raise OSError(number, "not to be had")

    monkeypatch.setattr(launch, "_loaded", refused)
    assert launch.startcompile() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("startcompile.py: not to be had")
    assert ("(see ulimit -a" in line) is limit
