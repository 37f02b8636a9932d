"""What an operator settles after a restore; real programs do so in tests/e2e/test_restore.py."""

import time
from pathlib import Path

import pytest

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.adapters.tls.authority import KEYS, Authority, copy_authorities
from buildtool.adapters.tls.burnt_file import NAME, add_burnt
from buildtool.adapters.tls.confirmed_keys import ConfirmedKeys
from buildtool.errors import ConfigurationError, UsageError
from buildtool.model.access.burnt import Burnt
from buildtool.programs.metaserver.access.restoring import Restoring
from tests.support.inline import run


def test_nothing_is_confirmed_while_the_authority_is_encrypted(tmp_path: Path) -> None:
    state, place = tmp_path / "state", tmp_path / "state" / KEYS
    Authority.load(tmp_path / "before", time.time())
    place.mkdir(parents=True)
    copy_authorities(tmp_path / "before", place, b"secret", RealDisk())
    database = run(SqliteDatabase.open(state / DATABASE, Inline()))
    run(database.close())
    with pytest.raises(ConfigurationError, match=r"is encrypted.*--passphrase-file FILE"):
        run(Restoring(state, None, None, new_authority=False).run(confirm=True))
    assert not ConfirmedKeys(place).pending()
    assert not run(Restoring(state, None, None, new_authority=False).run(confirm=False)).confirmed
    assert run(Restoring(state, None, b"secret", new_authority=False).run(confirm=True)).decrypted == 1
    listed = run(Restoring(state, None, None, new_authority=False).run(confirm=False))
    assert listed.confirmed, "whoever looks again is not told that nothing is confirmed"


def test_a_file_of_revocations_that_is_another_file_confirms_nothing_and_an_older_one_is_told(tmp_path: Path) -> None:
    """Believing the wrong file would believe every key that was revoked."""
    state, place = tmp_path / "state", tmp_path / "state" / KEYS
    Authority.load(place, time.time())
    run(run(SqliteDatabase.open(state / DATABASE, Inline())).close())
    said = tmp_path / "revoked.jsonl"
    for text in (b"", b'host = "127.0.0.1"\n', b"SQLite format 3\0\n\xff\n"):
        said.write_bytes(text)
        with pytest.raises(UsageError, match=r"names nothing that was revoked or used.*--confirm-keys"):
            run(Restoring(state, said, None, new_authority=False).run(confirm=False))
        assert not ConfirmedKeys(place).pending()
    first, second = Burnt("attic", "build server", "1" * 64), Burnt("cellar", "build server", "2" * 64)
    add_burnt(place / NAME, [first, second], RealDisk())
    said.unlink()
    add_burnt(said, [first], RealDisk())
    told = run(Restoring(state, said, None, new_authority=False).run(confirm=False))
    assert (told.confirmed, told.lacking) == (True, 1)
    assert "lacks 1 of those that this directory has" in "\n".join(told.lines())


@pytest.mark.parametrize("damaged", [1, 7])
def test_lines_that_nobody_understands_are_told_by_their_numbers(tmp_path: Path, damaged: int) -> None:
    """Who was revoked there is believed, and whoever restores is the only one who can know that."""
    state, said = tmp_path / "state", tmp_path / "revoked.jsonl"
    Authority.load(state / KEYS, time.time())
    run(run(SqliteDatabase.open(state / DATABASE, Inline())).close())
    said.write_text("{torn\n" * damaged)
    add_burnt(said, [Burnt("attic", "build server", "1" * 64)], RealDisk())
    told = run(Restoring(state, said, None, new_authority=False).run(confirm=False))
    assert told.passed_over == tuple(range(1, damaged + 1))
    line = next(one for one in told.lines() if "is damaged" in one)
    assert ("at line 1:" in line) if damaged == 1 else ("at line 1, 2, 3, 4, 5 and 2 more:" in line)
