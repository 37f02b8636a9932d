"""The file in which a build server remembers what it follows, written whole. Everything here blocks."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
from attrs import frozen

from buildtool.adapters.storage.whole_text import replace_text
from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.guest.follow_record import FollowRecord

FILE = "record.json"
SIZE_LIMIT = 64 * 1024
"""The most bytes of the file."""


@frozen
class FollowMemory:
    """The memory of what is followed, in ``place``."""

    place: Path

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.place / FILE

    def load(self, source: str) -> FollowRecord:
        """Return what is remembered of a source; an empty record for one that was not followed before.

        Raises ConfigurationError for a file that cannot be used: what holds is not guessed.
        """
        try:
            with self.path.open("rb") as stream:
                data = stream.read(SIZE_LIMIT + 1)
        except FileNotFoundError:
            return FollowRecord(source)
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        try:
            return _record(data).of(source)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{self.path}: cannot be used: {error}: remove it, and the newest signed commit is taken as the first"
            ) from error

    def save(self, record: FollowRecord) -> None:
        """Write what is to be remembered. Raises MachineFault."""
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_text(self.path, json.dumps(attrs.asdict(record), indent=1) + "\n")
        except OSError as error:
            raise MachineFault(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _record(data: bytes) -> FollowRecord:
    """Return what stands in the file. Raises ValueError."""
    if len(data) > SIZE_LIMIT:
        raise ValueError("it is too large")
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - as json raises it
    fields = {one.name: type(one.default) for one in attrs.fields(FollowRecord)}
    for name, value in found.items():
        kinds = (int, float) if fields.get(name) is float else (fields.get(name, type(None)),)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(f"{str(name)[:40]!r} is not understood")  # noqa: TRY004 - as above
    return FollowRecord(**found)
