"""How many processors a build is told of."""

from __future__ import annotations

import argparse


def processors_told(usable: int, said: argparse.Namespace, builds: int) -> int:
    """Return how many processors each of so many builds at once is told of, at least 1.

    ``usable`` are those of the machine. What ``--numcpus`` says goes before that and before ``--cpus``, which holds
    builds to fewer all the same.
    """
    some: int = said.numcpus or min(usable, said.cpus or usable)
    return max(1, some // builds)
