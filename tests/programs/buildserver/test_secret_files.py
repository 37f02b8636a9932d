"""Which values are masked: those of the donor's files and of the machine's key; what is wrong is told in one line."""

import os
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from buildtool.errors import ConfigurationError
from buildtool.programs.buildserver.secret_files import LARGEST, secret_files, secret_values


def test_values_of_all_files_and_of_the_key_are_masked(tmp_path: Path) -> None:
    token, key = tmp_path / "token", tmp_path / "key.pem"
    token.write_text("TOKEN=s3cr3t-token\n")
    assert secret_values(secret_files(str(token)), key) == (b"TOKEN=s3cr3t-token", b"s3cr3t-token")
    key.write_text("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\n")
    assert secret_values((), key) == (b"MIGHAgEAMBMG",)


@pytest.mark.parametrize("text", ["", "a,,b", ",".join("a" * 33)])
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="separated by commas"):
        secret_files(text)


@pytest.mark.parametrize("what", ["missing", "directory", "pipe", "short", "large", "nul"])
def test_a_file_without_values_is_told_in_one_line(tmp_path: Path, what: str) -> None:
    path = tmp_path / "it"
    match what:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "short":
            path.write_text("abc\n")
        case "large":
            path.write_bytes(b"x" * (LARGEST + 1))
        case "nul":
            path = Path("\0")
    with pytest.raises(ConfigurationError, match=r"--secret-files: ") as caught:
        secret_values([path], tmp_path / "no key")
    assert "\n" not in str(caught.value)
