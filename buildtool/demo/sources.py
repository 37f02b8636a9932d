"""``make sources``: the example's sources as a git repository, where ``testproject/config.py`` expects it."""

from __future__ import annotations

import sys
from pathlib import Path

from buildtool.demo.local_farm import FarmError, import_sources


def main(root: Path | None = None) -> int:
    """Make the repository unless it is there, and say where it is; return the exit code."""
    root = Path(__file__).resolve().parent.parent.parent if root is None else root
    repository = root / "var" / "testproject.git"
    if repository.exists():
        print(f"{repository} is there already; it stays as it is")
        return 0
    try:
        commit = import_sources(root / "testproject" / "source", repository)
    except (FarmError, OSError) as error:
        print(f"make sources: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{repository} is made, commit {commit[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
