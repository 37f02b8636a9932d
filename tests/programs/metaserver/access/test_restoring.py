"""What an operator settles after a restore; real programs do so in tests/e2e/test_restore.py."""

import time
from pathlib import Path

import pytest

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.filesystem import RealDisk
from buildtool.adapters.tls.authority import KEYS, Authority, copy_authorities
from buildtool.adapters.tls.confirmed_keys import ConfirmedKeys
from buildtool.errors import ConfigurationError
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
