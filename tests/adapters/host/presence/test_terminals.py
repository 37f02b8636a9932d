"""Terminals: when somebody typed into one is when it was last read."""

import os
import time
from pathlib import Path

from buildtool.adapters.host.presence.terminals import typed_at


def test_the_terminal_that_was_read_last_counts(tmp_path: Path) -> None:
    (tmp_path / "dev/pts").mkdir(parents=True)
    ours, theirs = os.openpty()
    (tmp_path / "dev/pts/3").symlink_to(os.ttyname(theirs))
    (tmp_path / "dev/pts/ptmx").symlink_to("/dev/ptmx")
    (tmp_path / "dev/ttyS0").write_text("")
    before = Path(os.ttyname(theirs)).stat().st_atime
    os.write(ours, b"hello\n")
    os.read(theirs, 10)

    found = typed_at(tmp_path)
    assert found is not None
    assert before <= found <= time.time() + 1
    os.close(ours)
    os.close(theirs)


def test_a_machine_without_terminals_tells_nothing(tmp_path: Path) -> None:
    assert typed_at(tmp_path) is None
    (tmp_path / "dev/pts").mkdir(parents=True)
    (tmp_path / "dev/pts/1").write_text("no terminal")
    assert typed_at(tmp_path) is None
