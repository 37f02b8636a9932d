"""new-secret: a file that only its owner reads, with a secret that is not shown and not lost."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.adapters.storage.filesystem import Disk, RealDisk
from buildtool.configuration.secret_file import read_secret
from buildtool.errors import StorageUnavailable, UsageError
from buildtool.programs.metaserver.access.new_secret import RANDOM, make_secret
from buildtool.programs.metaserver.main import main


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text("this is no Python: a secret may be what it still lacks")
    return tmp_path / "config.py"


def said(config: Path, *words: str) -> int:
    return main(["new-secret", "--config", str(config), *words])


def test_a_secret_is_written_for_its_owner_alone_and_its_path_is_said_and_not_itself(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(config, "mail") == 0
    path = config.parent / "secrets/mail"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    secret = read_secret(path, "mail")
    assert len(secret) * 6 >= 8 * RANDOM >= 160
    told = capsys.readouterr()
    assert told.out == f"{path}: a new secret, which its owner alone can read\n"
    assert secret not in told.out + told.err
    assert said(config, "other", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"path": str(path.with_name("other"))}
    assert read_secret(path.with_name("other"), "other") != secret


def test_a_secret_is_replaced_only_when_that_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(config, "mail")
    path = config.parent / "secrets/mail"
    first = path.read_bytes()
    assert said(config, "mail") == 2
    assert "--replace" in capsys.readouterr().err
    assert path.read_bytes() == first
    assert said(config, "mail", "--replace") == 0
    assert path.read_bytes() != first
    assert sorted(one.name for one in path.parent.iterdir()) == ["mail"]


def test_of_two_that_make_one_secret_the_second_is_told_and_the_first_stays(config: Path) -> None:
    path = config.parent / "secrets/mail"

    class Quicker(RealDisk):
        def link(self, source: Path, target: Path) -> None:
            target.write_text("theirs\n")
            super().link(source, target)

    with pytest.raises(UsageError, match="is there already"):
        make_secret(config, "mail", Quicker(), replace=False)
    assert path.read_text() == "theirs\n"


def test_a_link_that_leads_nowhere_is_there_too(config: Path) -> None:
    (config.parent / "secrets").mkdir()
    (config.parent / "secrets/mail").symlink_to("elsewhere")
    with pytest.raises(UsageError, match="is there already"):
        make_secret(config, "mail", RealDisk(), replace=False)
    assert not (config.parent / "secrets/elsewhere").exists()


def test_where_others_could_put_their_own_secret_none_is_written(config: Path) -> None:
    (config.parent / "secrets").mkdir()
    (config.parent / "secrets").chmod(0o777)
    with pytest.raises(UsageError, match="can be written by others"):
        make_secret(config, "mail", RealDisk(), replace=False)
    assert list((config.parent / "secrets").iterdir()) == []


@pytest.mark.parametrize("name", ["", "../mail", "a/b", ".hidden", "with space", "x" * 65])
def test_what_is_no_name_of_a_file_names_no_secret(name: str, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(config, name) == 2
    assert "names no secret" in capsys.readouterr().err
    assert not (config.parent / "secrets").exists()


def test_a_disk_that_is_full_or_cut_off_leaves_the_old_secret(config: Path) -> None:
    make_secret(config, "mail", RealDisk(), replace=False)
    path = config.parent / "secrets/mail"
    before = path.read_bytes()

    class Full(RealDisk):
        def sync(self, file: int) -> None:
            raise OSError(28, "No space left on device")

    full: Callable[[], Disk] = Full
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        make_secret(config, "mail", full(), replace=True)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["mail"]
