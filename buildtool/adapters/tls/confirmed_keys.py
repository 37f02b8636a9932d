"""Whether the keys that a database knows may be believed, or come from a copy that has forgotten who was revoked since.

The file ``confirmed.json`` names the life of the metaserver for which that is settled. A metaserver in another life, as
after a restore, does not start until the operator has run ``bin/metaserver restore``, which settles it for the next.
"""

from __future__ import annotations

import json
from pathlib import Path

from attrs import define, field

from buildtool.adapters.storage.filesystem import (
    Disk,
    RealDisk,
    make_directories,
    put_whole,
    read_whole,
    storage_unavailable,
)

NAME = "confirmed.json"

_LIMIT = 4_096


@define(eq=False)
class ConfirmedKeys:
    """The file in a directory of keys. Everything blocks, and raises StorageUnavailable."""

    directory: Path
    disk: Disk = field(factory=RealDisk)

    def life(self) -> str | None:
        """Return the life of the metaserver whose keys are confirmed, or None."""
        life = self._said().get("life")
        return life if isinstance(life, str) else None

    def pending(self) -> str:
        """Return who has confirmed the keys for the next start, or an empty text."""
        return str(self._said().get("by", "")) if self._said().get("next") is True else ""

    def settle(self, life: str) -> None:
        """Write that the keys are confirmed for a life."""
        if self._said() != {"life": life}:
            self._write({"life": life})

    def confirm(self, by: str) -> None:
        """Write that an operator (``by``) has confirmed the keys for the next start, whatever life that begins."""
        self._write({"next": True, "by": by})

    def _said(self) -> dict[str, object]:
        path = self.directory / NAME
        try:
            said = json.loads(read_whole(self.disk, path, _LIMIT))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise storage_unavailable(f"read {path}", error) from error
        except ValueError:
            return {}  # damaged: nothing is confirmed
        return said if isinstance(said, dict) else {}

    def _write(self, said: dict[str, object]) -> None:
        path = self.directory / NAME
        try:
            make_directories(self.disk, self.directory)
            put_whole(self.disk, path, json.dumps(said).encode())
        except OSError as error:
            raise storage_unavailable(f"write {path}", error) from error
