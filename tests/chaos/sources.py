"""The project that is built: a git repository with a few commits, drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from tests.support.origins import Origin

BROKEN = 3
"""The variant that does not compile, in every revision."""

_BUILD = """\
set -e
line=$(sed -n "$(($2 + 1))p" variants)
set -- "$1" "$2" $line
case "$1" in
compile)
    gcc -O0 -DVARIANT="$2" -o program main.c
    case "$6" in
    child) sleep 900 & ;;
    daemon) setsid sleep 900 >/dev/null 2>&1 </dev/null & ;;
    esac
    sleep "$3" ;;
make)
    ./program about >about
    ./program "$5" >payload
    echo "made $5 bytes"
    sleep "$4" ;;
esac
"""

_MAIN = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if VARIANT == %(broken)d
#error this variant does not compile
#endif
int main(int argc, char **argv)
{
    unsigned state = %(commit)d * 1000 + VARIANT;
    long left = argc > 1 ? atol(argv[1]) : 0;
    if (argc > 1 && !strcmp(argv[1], "about"))
        return printf("variant %%d of revision %(commit)d\\n", VARIANT) < 0;
    for (; left > 0; left--)
        putchar((state = state * 1664525u + 1013904223u) >> 24);
    return 0;
}
"""


@frozen
class Variant:
    """How one program of one revision behaves: seconds it rests when compiled and when made, bytes, and strays."""

    compiling: float
    making: float
    size: int
    stray: str

    def line(self) -> str:
        """Return it as build.sh reads it."""
        return f"{self.compiling:.2f} {self.making:.2f} {self.size} {self.stray}"


def drawn(draw: random.Random, *, patience: float, largest: int) -> Variant:
    """Return a variant that rests ``patience`` seconds at most each time, and makes ``largest`` bytes at most."""
    size = int(4096 * (largest / 4096) ** draw.random())
    stray = draw.choices(("none", "child", "daemon"), (6, 2, 1))[0]
    return Variant(draw.random() * patience, draw.random() * patience, size, stray)


def about(variant: int, commit: int) -> str:
    """Return what the artifact of a variant of the ``commit``-th revision says of itself."""
    return f"variant {variant} of revision {commit}\n"


def make_repository(repository: Path, revisions: Sequence[Sequence[Variant]]) -> list[str]:
    """Make a repository with a commit for each of ``revisions``; return their ids. Tags are ``r0``, ``r1`` …"""
    origin = Origin(repository)
    commits = []
    for number, variants in enumerate(revisions):
        (repository / "build.sh").write_text(_BUILD)
        (repository / "main.c").write_text(_MAIN % {"broken": BROKEN, "commit": number})
        (repository / "variants").write_text("".join(f"{variant.line()}\n" for variant in variants))
        commits.append(origin.commit_all(f"revision {number}"))
        origin.git("tag", f"r{number}")
    return commits
