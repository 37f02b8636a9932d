"""Whether the files of the state directory are those that the rows name, byte for byte.

Tested by tests/adapters/maintenance/test_fsck.py.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attrs import define, field, frozen
from sqlalchemy import Connection, select, update

from buildtool.adapters.maintenance.finding import Finding, Repair
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql import schema
from buildtool.adapters.storage.artifacts import DIGEST, stored_path
from buildtool.adapters.storage.log_index.file import INDEX_SUFFIX, index_of
from buildtool.adapters.storage.logs import READ_LIMIT, LogStore
from buildtool.adapters.storage.quarantine import move
from buildtool.errors import Damaged, StorageUnavailable
from buildtool.model.records import AttemptState
from buildtool.model.tickets import KEY_BYTES

Progress = Callable[[str, int, int], None]
"""Is told what is being read, how many bytes of it were, and of how many."""

KEY_MODE = 0o600

_LOG = re.compile(r"([1-9][0-9]{0,17})-([0-9]{1,9})\.log(\.zst)?")
_UPLOAD = re.compile(r"([1-9][0-9]{0,17})-([0-9]{1,9})")


def silent(_what: str, _done: int, _total: int) -> None:
    """Ignore how far the reading has come."""


@frozen
class Row:
    """An artifact that is given out, as far as its file is concerned."""

    id: int
    build_id: int
    digest: str
    size: int


@frozen
class ExpectedFiles:
    """The files that the rows name: artifacts given out, all digests ever stored, all Attempts, and the live ones."""

    artifacts: tuple[Row, ...]
    digests: frozenset[str]
    attempts: frozenset[tuple[int, int]]
    live: frozenset[tuple[int, int]]


@define
class SeenFiles:
    """The counts of what was read."""

    artifacts: int = 0
    artifact_bytes: int = 0
    logs: int = 0


@define
class StateFiles:
    """The files below ``directory``; ``seen`` counts what ``findings`` has read."""

    directory: Path
    progress: Progress = silent
    seen: SeenFiles = field(factory=SeenFiles)

    def expected(self, connection: Connection) -> ExpectedFiles:
        """Return what the rows say about files."""
        artifacts, attempts = schema.artifacts, schema.attempts
        given_out = select(artifacts.c.id, artifacts.c.build_id, artifacts.c.digest, artifacts.c.size)
        keys = select(attempts.c.build_id, attempts.c.epoch)
        return ExpectedFiles(
            tuple(
                Row(*row)
                for row in connection.execute(given_out.where(artifacts.c.withdrawn == "").order_by(artifacts.c.id))
            ),
            frozenset(connection.execute(select(artifacts.c.digest).distinct()).scalars()),
            frozenset((int(row[0]), int(row[1])) for row in connection.execute(keys)),
            frozenset(
                (int(row[0]), int(row[1]))
                for row in connection.execute(keys.where(attempts.c.state != AttemptState.ENDED.value))
            ),
        )

    async def findings(self, expected: ExpectedFiles) -> list[Finding]:
        """Return everything that is wrong with files. Reads every artifact and every log."""
        return [
            *self.key(),
            *self.artifacts(expected),
            *self.unnamed(expected),
            *self.incoming(expected),
            *await self.logs(expected),
        ]

    # --- key -------------------------------------------------------------------------------------------

    def key(self) -> list[Finding]:
        """Return what is wrong with the key that signs tickets and cancel tokens."""
        path = self.directory / "key"
        try:
            status = path.stat()
        except FileNotFoundError:
            return [
                Finding(
                    "key-missing",
                    "key",
                    "it is not there",
                    "the start makes a new one, with which requests that wait cannot be cancelled by who made them",
                    "restore it from a backup",
                )
            ]
        found = []
        if stat.S_IMODE(status.st_mode) & 0o077:
            found.append(
                Finding(
                    "key-mode",
                    "key",
                    f"its mode is {stat.S_IMODE(status.st_mode):04o}",
                    "others on this machine can sign tickets, and cancel what they did not ask for",
                    "--repair sets it to 0600; delete the key if somebody may have read it",
                    lambda _connection: path.chmod(KEY_MODE),
                )
            )
        if status.st_size != KEY_BYTES:
            found.append(
                Finding(
                    "key-damaged",
                    "key",
                    f"it has {status.st_size} bytes, not {KEY_BYTES}",
                    "the metaserver does not start",
                    "restore it from a backup, or delete it to have a new one made",
                )
            )
        return found

    # --- artifacts -------------------------------------------------------------------------------------

    def artifacts(self, expected: ExpectedFiles) -> list[Finding]:
        """Return the artifacts that are given out but are not there, or are not what they should be."""
        found = []
        total, done = sum(row.size for row in expected.artifacts), 0
        judged: dict[tuple[str, int], tuple[str, str]] = {}
        for row in expected.artifacts:
            known = (row.digest, row.size)
            if known not in judged:
                self.progress("artifacts", done, total)
                judged[known] = self._judge(row)
            done += row.size
            check, what = judged[known]
            if check:
                found.append(self._bad(row, check, what))
        self.progress("artifacts", total, total)
        return found

    def _judge(self, row: Row) -> tuple[str, str]:
        """Return which check the file of a row fails, and in what words; ("", "") for a sound one."""
        if not DIGEST.fullmatch(row.digest):
            return "artifact-missing", f"{row.digest[:80]!r} is no digest, so no file can have it"
        path = stored_path(self.directory, row.digest)
        name = path.relative_to(self.directory)
        try:
            return self._read(path, str(name), row)
        except FileNotFoundError:
            return "artifact-missing", f"{name} is not there"
        except OSError as error:
            return "artifact-damaged", f"{name} cannot be read: {error.strerror}"

    def _read(self, path: Path, name: str, row: Row) -> tuple[str, str]:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return "artifact-damaged", f"{name} is no file"
        if status.st_size != row.size:
            return "artifact-size", f"{name} has {status.st_size} bytes, not {row.size}"
        self.seen.artifacts += 1
        self.seen.artifact_bytes += status.st_size
        arrived = digest_of(path)
        return ("", "") if arrived == row.digest else ("artifact-damaged", f"the bytes of {name} have digest {arrived}")

    def _bad(self, row: Row, check: str, what: str) -> Finding:
        missing = check == "artifact-missing"
        mend = "--repair withdraws it" + ("" if missing else " and moves the file to quarantine/ if it is damaged")
        return Finding(
            check,
            f"artifact {row.id} of build {row.build_id}",
            what,
            "it is not given out; whoever asks for it next has it built again"
            if missing or check == "artifact-size"
            else "it would be found out when somebody fetches it",
            mend,
            partial(self._withdraw, row, what),
        )

    def _withdraw(self, row: Row, what: str, connection: Connection) -> None:
        table = schema.artifacts
        connection.execute(update(table).where(table.c.id == row.id).values(withdrawn=f"fsck: {what}"))
        path = stored_path(self.directory, row.digest)
        if DIGEST.fullmatch(row.digest) and (path.exists() or path.is_symlink()) and not _sound(path, row.digest):
            move(self.directory, path)

    def unnamed(self, expected: ExpectedFiles) -> list[Finding]:
        """Return the files in artifacts/ that no row names."""
        found = []
        for path in _files(self.directory / "artifacts"):
            digest = path.name.removesuffix(".zip")
            if path == stored_path(self.directory, digest) and digest in expected.digests:
                continue
            name = path.relative_to(self.directory)
            published = DIGEST.fullmatch(digest) is not None and path == stored_path(self.directory, digest)
            found.append(
                Finding(
                    "file-unnamed",
                    str(name),
                    "no row names this file",
                    "it was published right before a crash, or its row is lost; it takes room"
                    if published
                    else "it is nothing that the metaserver wrote; it takes room",
                    "--repair moves it to quarantine/"
                    + ("; left alone, the metaserver deletes it after an hour" if published else ""),
                    self._quarantining(path),
                )
            )
        return found

    # --- uploads and logs ------------------------------------------------------------------------------

    def incoming(self, expected: ExpectedFiles) -> list[Finding]:
        """Return the uploads that no live Attempt will go on with."""
        found = []
        for path in _entries(self.directory / "incoming"):
            name = _UPLOAD.fullmatch(path.name)
            if name is not None and (int(name[1]), int(name[2])) in expected.live:
                continue
            found.append(
                Finding(
                    "upload-left",
                    f"incoming/{path.name}",
                    "it is of no attempt that goes on",
                    "nobody will finish it; it takes room",
                    "--repair deletes it, and so does the next start",
                    partial(_discard, path),
                )
            )
        return found

    async def logs(self, expected: ExpectedFiles) -> list[Finding]:
        """Return the logs that belong to nothing, are half made, or cannot be read."""
        found: list[Finding] = []
        store = LogStore(self.directory, Inline())
        entries = _entries(self.directory / "logs")
        for number, path in enumerate(entries):
            self.progress("logs", number, len(entries))
            name = _LOG.fullmatch(path.name)
            if _is_index(path):
                continue
            if name is None or (name[3] is None and path.with_name(f"{path.name}.zst").exists()):
                made_here = name is not None or path.name.endswith((".new", f".log{INDEX_SUFFIX}"))
                found.append(self._left_log(path, made_here=made_here))
                continue
            key = int(name[1]), int(name[2])
            self.seen.logs += 1
            if key not in expected.attempts:
                found.append(self._nobodys_log(path, key))
            elif (problem := await _log_problem(store, *key)) is not None:
                found.append(self._damaged_log(path, key, problem))
        return found

    def _left_log(self, path: Path, *, made_here: bool) -> Finding:
        return Finding(
            "log-left",
            f"logs/{path.name}",
            "a crash left it half done" if made_here else "it is no log",
            "it takes room",
            "--repair deletes it, and so does the next start" if made_here else "--repair moves it to quarantine/",
            partial(_discard, path) if made_here else self._quarantining(path),
        )

    def _nobodys_log(self, path: Path, key: tuple[int, int]) -> Finding:
        return Finding(
            "log-unnamed",
            f"logs/{path.name}",
            f"there is no attempt {key[1]} of build {key[0]}",
            "no page shows it; it takes room",
            "--repair moves it to quarantine/",
            self._quarantining_log(path),
        )

    def _damaged_log(self, path: Path, key: tuple[int, int], problem: str) -> Finding:
        return Finding(
            "log-damaged",
            f"logs/{path.name}",
            problem,
            f"the page of build {key[0]} cannot show it; its end is in the database, and artifacts are whole",
            "--repair moves it to quarantine/, after which the page says that there is none",
            self._quarantining_log(path),
        )

    def _quarantining_log(self, path: Path) -> Repair:
        def act(_connection: Connection) -> None:
            move(self.directory, path)
            index_of(path).unlink(missing_ok=True)

        return act

    def _quarantining(self, path: Path) -> Repair:
        return lambda _connection: (move(self.directory, path), None)[1]


def _is_index(path: Path) -> bool:
    """Return whether a file is the index of a log that is there."""
    log = path.with_suffix("")
    packed = log.with_name(f"{log.name}.zst")
    return path.suffix == INDEX_SUFFIX and _LOG.fullmatch(log.name) is not None and (log.exists() or packed.exists())


def _sound(path: Path, digest: str) -> bool:
    """Return whether a file has the bytes of its name: then the row is wrong, and another may name the file."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and digest_of(path) == digest
    except OSError:
        return False


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _log_problem(store: LogStore, build_id: int, epoch: int) -> str | None:
    try:
        length = (await store.state(build_id, epoch)).length
        position = 0
        while position < length:
            piece = await store.read(build_id, epoch, position, READ_LIMIT)
            if not piece:
                return f"it ends at byte {position} of {length}"
            position += len(piece)
    except (Damaged, StorageUnavailable) as error:
        return str(error)
    return None


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def _files(directory: Path) -> Iterator[Path]:
    for root, directories, names in os.walk(directory):
        directories.sort()
        yield from (Path(root, name) for name in sorted(names))


def _discard(path: Path, _connection: Connection) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
