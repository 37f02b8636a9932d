"""``make bench``: take figures, print each as one JSON line, and keep them in ``bench-results/``.

``make bench ARGS="hits noop_builds_per_s_16"`` takes those whose names begin so, and their limits. What goes on is
said on stderr, and at the end which targets were reached.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tests.benchmarks import (
    attacks,
    builds,
    cancelling,
    checkouts,
    decisions,
    footprint,
    freezing,
    herd,
    hits,
    limits,
    lists,
    live,
    scrapes,
    screens,
    siege,
    starts,
    transfers,
)
from tests.benchmarks.figures import BY_NAME, Board, Figure, chosen
from tests.benchmarks.world import ROOT, progress, world

GROUPS = (
    limits, decisions, scrapes, builds, checkouts, cancelling, freezing, transfers, footprint, herd, hits, lists, live,
    screens, starts, attacks, siege,
)  # fmt: skip
"""What takes the figures, in this order: the limits first, since the others are said beside them."""


def main() -> int:
    """Take what is asked for; return 2 for names that there are not."""
    parser = argparse.ArgumentParser(prog="make bench", description="Take figures, beside the limits of this machine.")
    parser.add_argument("names", nargs="*", help=f"figures, or how their names begin: {', '.join(BY_NAME)}")
    parser.add_argument("--results", type=Path, default=ROOT / "bench-results", help="where they are kept")
    said = parser.parse_args()
    try:
        names = chosen(said.names)
    except LookupError as error:
        print(f"bench: {error.args[0]}", file=sys.stderr)
        return 2
    began = time.monotonic()
    said.results.mkdir(parents=True, exist_ok=True)
    path = said.results / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.jsonl"
    with path.open("w", encoding="utf-8") as kept, world(ROOT / ".bench") as here:
        board = Board(names, lambda figure: _say(figure, kept))
        for group in GROUPS:
            group.take(here, board)
    progress(f"{len(names)} figures in {time.monotonic() - began:.0f} s, kept in {path}")
    for name in names_in_order(board):
        progress(board.taken[name].words())
    return 0


def names_in_order(board: Board) -> list[str]:
    """Return the names of what was taken and wanted, as the catalogue has them."""
    return [name for name in BY_NAME if name in board.taken and name in board.wanted]


def _say(figure: Figure, kept: TextIO) -> None:
    for stream in (sys.stdout, kept):
        stream.write(figure.line() + "\n")
        stream.flush()


if __name__ == "__main__":
    sys.exit(main())
