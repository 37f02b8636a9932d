"""The file in which an installation remembers its updates, written whole. Everything here blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from buildtool.adapters.storage.whole_text import replace_text
from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.updating.record import FailedUpdate, UpdateAttempt, UpdatePhase, UpdateRecord

FILE = "update.json"
SIZE_LIMIT = 1024 * 1024
"""The most bytes of the file."""


@frozen
class UpdateMemory:
    """The memory of the installation in ``place``."""

    place: Path

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.place / FILE

    def load(self) -> UpdateRecord:
        """Return what is remembered. Raises ConfigurationError for a file that cannot be used: nothing is guessed."""
        try:
            with self.path.open("rb") as stream:
                data = stream.read(SIZE_LIMIT + 1)
        except FileNotFoundError:
            return UpdateRecord()
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        try:
            return _record(data)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigurationError(
                f"{self.path}: cannot be used: {type(error).__name__}: remove it, and what current leads to holds"
            ) from error

    def save(self, record: UpdateRecord) -> None:
        """Write what is to be remembered. Raises MachineFault."""
        try:
            replace_text(self.path, json.dumps(as_object(record), indent=1) + "\n")
            self.path.chmod(0o644)
        except OSError as error:
            raise MachineFault(f"{self.path}: cannot be written: {error.strerror or error}") from error


def as_object(record: UpdateRecord) -> dict[str, Any]:
    """Return a record as plain values."""
    return attrs.asdict(record, value_serializer=lambda _one, _field, value: _plain(value))


def _plain(value: object) -> object:
    return value.value if isinstance(value, UpdatePhase) else value


def _record(data: bytes) -> UpdateRecord:
    """Return what stands in the file. Raises ValueError, TypeError, KeyError."""
    if len(data) > SIZE_LIMIT:
        raise ValueError("it is too large")
    found = json.loads(data)
    attempt = found["attempt"]
    if attempt is not None:
        attempt = UpdateAttempt(**{**attempt, "phase": UpdatePhase(attempt["phase"])})
    record = UpdateRecord(
        **{
            **found,
            "attempt": attempt,
            "past": tuple(found["past"]),
            "failed": tuple(FailedUpdate(**one) for one in found["failed"]),
        }
    )
    texts = (record.holds, record.name, record.tip, record.accepted, record.words, *record.past)
    if not all(isinstance(one, str) for one in texts) or not isinstance(record.code, int):
        raise ValueError("it has values of another kind")
    return record
