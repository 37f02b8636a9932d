"""What is wrong with something stored: found by ``fsck``, shown as one line.

Tested by tests/adapters/maintenance/test_fsck.py.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen
from sqlalchemy import Connection

from buildtool.model.text import one_line

Repair = Callable[[Connection], None]
"""Mends one finding inside a transaction of the database; files are moved right before it is committed."""


@frozen
class Finding:
    """One thing that is wrong: ``what`` is wrong, ``where``, what it ``means`` for people, and what does ``mend`` it.

    ``check`` names the kind for programs. ``repair`` is what ``--repair`` does, None where only a person can help.
    """

    check: str
    where: str
    what: str
    means: str
    mend: str
    repair: Repair | None = field(default=None, eq=False, repr=False)
    mended: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from every other."""
        return (self.check, self.where, self.what)

    @property
    def line(self) -> str:
        """All of it for people."""
        end = "mended" if self.mended else f"to mend: {self.mend}"
        return one_line(f"{self.check}: {self.where}: {self.what}; {self.means}; {end}")
