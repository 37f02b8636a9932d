"""What a release left on disk goes on under this version, and back again.

``tests/e2e/releases/record.py`` recorded it: a state directory whose metaserver was killed, with an artifact, a
failure, mails that could not be sent, two running builds and a queued one; and two build directories, one with an
artifact that was not delivered.
"""

import email
import email.policy
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from attrs import frozen

from buildtool.adapters.sql.schema import REVISION
from buildtool.adapters.storage.instance import machine_id
from tests.e2e.releases.farm import HERE, ReleaseFarm, release_farm
from tests.support.packages import require, require_that

RELEASES = {path.name.removesuffix(".tar.zst"): path for path in sorted(HERE.glob("*.tar.zst"))}
OLDER = [name for name in RELEASES if not name.endswith(f"-{REVISION}")]
TRIED = [pytest.param(name, marks=[] if name == OLDER[0] else pytest.mark.long) for name in RELEASES]
"""The oldest goes through every migration; each of the others is tried in ``make long``."""

DATABASE = "buildtool.sqlite"

# One after the other: their sources have one address.
pytestmark = pytest.mark.xdist_group("releases")


@frozen
class Left:
    """What a release left, laid out below ``farm``: what was answered to each request, and the database as it was."""

    farm: ReleaseFarm
    revision: str
    asked: dict[str, dict[str, Any]]
    rows: list[str]

    @property
    def state(self) -> Path:
        return self.farm.directory / "metaserver"


@pytest.fixture(params=TRIED)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Left]:
    require("git", "git")
    require_that(present=os.uname().sysname == "Linux", what="loopback has one address here", remedy="use Linux")
    with release_farm(tmp_path) as farm:
        archive = zstandard.ZstdDecompressor().decompress(RELEASES[request.param].read_bytes(), max_output_size=1 << 26)
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            packed.extractall(farm.directory, filter="fully_trusted")  # noqa: S202 - we made it
        about = json.loads((farm.directory / "about.json").read_text())
        for build_dir in farm.directory.glob("build-*/*"):
            move_in(build_dir, about["root"].encode(), bytes(tmp_path))
        yield Left(farm, about["revision"], about["asked"], rows(farm.directory / "metaserver" / DATABASE))


def move_in(build_dir: Path, was: bytes, now: bytes) -> None:
    """Let a build directory be what it would be if it had never been moved."""
    for path in build_dir.rglob("*"):
        if path.is_file() and not path.is_symlink() and was in (data := path.read_bytes()):
            path.write_bytes(data.replace(was, now))
    if (instance := build_dir / "instance").exists():
        words = (machine_id(), str(build_dir.stat().st_ino), str(instance.stat().st_ino))
        place = hashlib.sha256("\0".join(words).encode()).hexdigest()
        instance.write_text(f"{instance.read_text().split()[0]} {place}\n")


def rows(path: Path) -> list[str]:
    """Return all that a database holds, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def mailed(farm: ReleaseFarm) -> Counter[str]:
    """Return how many mails each address got."""
    new = farm.mailbox / "new"
    found = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in new.glob("*")]
    return Counter(str(mail["Delivered-To"]) for mail in found)


def test_nothing_of_what_a_release_left_is_lost(left: Left) -> None:
    farm = left.farm
    farm.start_mail()
    metaserver = farm.start_metaserver()
    kept = left.state / f"buildtool-{left.revision}.sqlite"
    assert kept.exists() == (left.revision != REVISION)
    if kept.exists():
        assert rows(kept) == left.rows, "what was kept before the upgrade is what there was"

    hit = farm.ask("--output", "again.zip", "--greeting=built", "flo@example.org")
    built = left.asked["built"]
    assert (hit["answer"], hit["build_id"]) == ("hit", built["build_id"])
    assert hashlib.sha256((farm.directory / "again.zip").read_bytes()).hexdigest() == built["artifact"]["digest"]
    failed = farm.ask("--foreground", "--greeting=failed", "flo@example.org", code=3)
    assert failed["build_id"] == left.asked["failed"]["build_id"], "the failure is remembered"

    anna, bert = farm.server("anna"), farm.server("bert")
    everybody = {f"{name}@example.org" for name in ("ann", "bob", "cid", "dan", "eve")}
    until = time.monotonic() + 60
    while not everybody <= mailed(farm).keys():
        assert time.monotonic() < until, (mailed(farm), metaserver.lines, anna.lines, bert.lines)
        time.sleep(0.1)
    for words in ("spooled", "lost", "queued"):
        again = farm.ask("--output", "again.zip", f"--greeting={words}", "flo@example.org")
        assert (again["answer"], again["build_id"]) == ("hit", left.asked[words]["build_id"])
    for program in (anna, bert, metaserver):
        assert program.stop() == 0
        assert not any("Traceback" in line or "a defect of" in line for line in program.lines), program.lines
    assert mailed(farm) == Counter(everybody), "each got the one mail that waited or came"
    with closing(sqlite3.connect(left.state / DATABASE)) as connection:
        made = dict(connection.execute("SELECT build_id, epoch FROM artifacts").fetchall())
    assert made[left.asked["spooled"]["build_id"]] == 1, "what waited on disk was delivered, not built again"
    fsck = farm.start("fsck", [str(farm.root / "bin" / "metaserver"), "fsck"])
    assert (fsck.ended(), fsck.lines[-1].partition(":")[0]) == (0, "clean")


@pytest.mark.parametrize("left", [one for one in TRIED if one.values[0] in OLDER], indirect=True)
def test_the_way_back_is_the_database_that_was_kept(left: Left) -> None:
    """As docs/operator.rst says; what is restored is what the release left, so it goes on with it."""
    files = {path: path.read_bytes() for path in (left.state / "artifacts").rglob("*.zip")}
    left.farm.start_metaserver().stop()
    for path in left.state.glob(f"{DATABASE}*"):
        path.unlink()
    (left.state / f"buildtool-{left.revision}.sqlite").rename(left.state / DATABASE)
    assert rows(left.state / DATABASE) == left.rows
    assert {path: path.read_bytes() for path in (left.state / "artifacts").rglob("*.zip")} == files
