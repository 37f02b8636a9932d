"""The file in which an installation remembers its updates, written whole. Everything here blocks."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import frozen

from buildtool.adapters.storage.whole_text import replace_text
from buildtool.errors import ConfigurationError, DecodeError, MachineFault
from buildtool.model.updating.record import UpdateRecord
from buildtool.protocol import codec
from buildtool.protocol.json_text import TextBounds, parsed

FILE = "update.json"
SIZE_LIMIT = 1024 * 1024
"""The most bytes of the file."""

BOUNDS = TextBounds(10_000)


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
                data = stream.read(SIZE_LIMIT)
        except FileNotFoundError:
            return UpdateRecord()
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        try:
            return codec.decode(UpdateRecord, parsed(data, BOUNDS))
        except DecodeError as error:
            raise ConfigurationError(
                f"{self.path}: cannot be used: {error}: remove it, and what current leads to holds"
            ) from error

    def save(self, record: UpdateRecord) -> None:
        """Write what is to be remembered. Raises MachineFault."""
        try:
            replace_text(self.path, json.dumps(codec.encode(record), indent=1) + "\n")
            self.path.chmod(0o644)
        except OSError as error:
            raise MachineFault(f"{self.path}: cannot be written: {error.strerror or error}") from error
