"""Record what a release leaves on disk, for ``tests/e2e/test_upgrade.py``.

    python -m tests.e2e.releases.record CHECKOUT

CHECKOUT has the release, and its ``.venv``. Its programs build, fail and queue, and are killed in the middle of a
build, after one that could not be delivered, with mails that could not be sent. What is on disk then becomes
``VERSION-REVISION.tar.zst`` beside this file, named by the release and by its revision of the tables.
"""

import io
import json
import os
import sqlite3
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import zstandard

from tests.e2e.releases.farm import HERE, ReleaseFarm, release_farm

KEPT = ("metaserver", "build-anna", "build-bert")
PATIENCE = 30.0


def record(checkout: Path) -> Path:
    """Run a release, and return the file that has what it left."""
    with tempfile.TemporaryDirectory(prefix="release-") as name, release_farm(Path(name), checkout) as farm:
        about = {"root": name, "asked": _lived(farm)}
        database = f"file:{farm.directory / 'metaserver' / 'buildtool.sqlite'}?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as one:
            (about["revision"],) = one.execute("SELECT version_num FROM alembic_version").fetchone()
        version = (checkout / "buildtool" / "__init__.py").read_text().partition('__version__ = "')[2].partition('"')[0]
        target = HERE / f"{version}-{about['revision']}.tar.zst"
        target.write_bytes(_packed(farm.directory, json.dumps(about, indent=1)))
    return target


def _lived(farm: ReleaseFarm) -> dict[str, object]:
    """Let a farm live until it is killed; return what was answered to each request."""
    farm.extra |= {"BUILDTOOL_MAIL_HOST": "127.0.0.1", "BUILDTOOL_MAIL_PORT": "9"}  # nobody listens there
    metaserver = farm.start_metaserver()
    anna = farm.server("anna")
    asked: dict[str, object] = {
        "built": farm.ask("--foreground", "--output", "built.zip", "--greeting=built", "ann@example.org"),
        "failed": farm.ask("--foreground", "--greeting=failed", "bob@example.org", code=3),
    }
    for server in ("anna", "bert"):
        os.mkfifo(_gate(farm, server))
    asked["spooled"] = farm.ask("--greeting=spooled", "cid@example.org")
    at_anna = _opened(farm, "anna")
    bert = farm.server("bert")
    asked["lost"] = farm.ask("--greeting=lost", "dan@example.org")
    at_bert = _opened(farm, "bert")
    asked["queued"] = farm.ask("--greeting=queued", "eve@example.org")
    metaserver.kill()
    os.close(at_anna)
    _await(lambda: any((farm.directory / "build-anna").rglob("end.json")))
    anna.kill()
    bert.kill()
    os.close(at_bert)
    return asked


def _gate(farm: ReleaseFarm, server: str) -> Path:
    return Path(farm.extra["RELEASE_CONTROL"]) / f"gate-{server}"


def _opened(farm: ReleaseFarm, server: str) -> int:
    """Return the end of a gate once a build waits at the other; it goes on when this is closed."""
    found = []

    def there() -> bool:
        try:
            found.append(os.open(_gate(farm, server), os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads yet
            return False
        return True

    _await(there)
    _gate(farm, server).unlink()
    return found[0]


def _await(condition: Callable[[], bool]) -> None:
    until = monotonic() + PATIENCE
    while not condition():
        if monotonic() > until:
            raise TimeoutError("the release does not do what it should")
        sleep(0.05)


def _packed(directory: Path, about: str) -> bytes:
    """Return what was left, and the words about it, as an archive; sockets and pipes are left out."""
    (directory / "about.json").write_text(about)
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(directory / "about.json", "about.json")
        for top in KEPT:
            for path in sorted((directory / top, *(directory / top).rglob("*"))):
                kind = stat.S_IFMT(path.lstat().st_mode)
                if kind in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
                    archive.add(path, str(path.relative_to(directory)), recursive=False, filter=_nobodys)
    return zstandard.ZstdCompressor(level=19).compress(found.getvalue())


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = int(member.mtime)
    return member


if __name__ == "__main__":
    print(record(Path(sys.argv[1]).resolve()))
