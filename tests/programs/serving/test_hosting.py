"""What is said of the log is checked as one: options that mean nothing together are refused in one line."""

import argparse
from pathlib import Path

import pytest

from buildtool.errors import UsageError
from buildtool.programs.common.given.parser import CommandParser
from buildtool.programs.serving.hosting import hosted
from buildtool.programs.serving.options import HOST_OPTIONS, log_of


def said(*words: str) -> argparse.Namespace:
    parser = CommandParser()
    for name, how in HOST_OPTIONS.items():
        parser.add_argument(name, **how)
    return parser.parse_args(words)


def test_without_a_file_there_is_no_log_but_standard_error() -> None:
    assert log_of(said()) is None
    assert hosted("thing", lambda _said, log: 7 if log is None else 8)(said()) == 7


@pytest.mark.parametrize("words", [("--log-size", "5000"), ("--log-count", "none"), ("--no-logrotate",)])
def test_what_goes_with_a_file_only_is_refused_without_one(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"^{words[0]} goes with --log-file FILE"):
        log_of(said(*words))


@pytest.mark.parametrize("words", [("--log-size", "5000"), ("--log-count", "none")])
def test_a_log_that_is_never_rotated_has_neither_size_nor_count(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"^{words[0]} and --no-logrotate are two different things"):
        log_of(said("--log-file", str(tmp_path / "log"), "--no-logrotate", *words))


def test_what_was_said_is_what_the_log_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, size, count, rotates in (
        ((), 10_000_000, 10, True),
        (("--log-size", "5K", "--log-count", "none"), 5120, None, True),
        (("--log-count", "3"), 10_000_000, 3, True),
        (("--no-logrotate",), 10_000_000, 10, False),
    ):
        log = log_of(said("--log-file", "log", *words))
        assert log is not None
        assert (log.path, log.size, log.count, log.rotates) == (tmp_path / "log", size, count, rotates)
        log.close()
