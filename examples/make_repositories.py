#!/usr/bin/env python3
"""Make a git repository of each example's sources, for a farm that builds them.

    examples/make_repositories.py [DIRECTORY]

DIRECTORY is where the examples' config.py look for them: var/examples of the checkout, or $BUILDTOOL_EXAMPLES. The same
sources give the same commits on every machine.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = ("wheel", "golang", "cmake", "rust")
WHEN = "2026-01-01T00:00:00+0000"


def main() -> int:
    """Run the script; return its exit code."""
    parser = argparse.ArgumentParser(description="Make git repositories of the examples' sources.")
    usual = Path(os.environ.get("BUILDTOOL_EXAMPLES", HERE.parent / "var" / "examples"))
    parser.add_argument("directory", nargs="?", type=Path, default=usual, metavar="DIRECTORY")
    place = parser.parse_args().directory.absolute()
    for name in EXAMPLES:
        try:
            print(f"{place / name}.git: {made(HERE / name / 'source', place / f'{name}.git')}")
        except (OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            print(f"{Path(__file__).name}: {name}: {said[-1] if said else error}", file=sys.stderr)
            return 1
    return 0


def made(source: Path, repository: Path) -> str:
    """Return the commit of a repository with these sources, which is made, or brought up to date."""
    if not repository.exists():
        git(repository, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(repository))
    git(repository, "--work-tree", str(source), "add", "--all", "--force", ".", tree=source)
    tree = git(repository, "write-tree")
    commit = git(repository, "commit-tree", tree, "-m", "The example as it is")
    git(repository, "update-ref", "refs/heads/main", commit)
    return commit[:12]


def git(repository: Path, *words: str, tree: Path | None = None) -> str:
    """Run git without anybody's configuration: it must always make the same."""
    repository.parent.mkdir(parents=True, exist_ok=True)
    who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in (
        ("NAME", "Examples"), ("EMAIL", "examples@localhost"), ("DATE", WHEN),
    )}  # fmt: skip
    environment = {
        "PATH": os.environ.get("PATH", os.defpath), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_DIR": str(repository), "LC_ALL": "C", **who,
    }  # fmt: skip
    done = subprocess.run(
        ["git", *words], env=environment, cwd=tree or repository.parent, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
