"""What builds are told of processors: the owner's word, else what there is, shared among those at once."""

import argparse

from hypothesis import given
from hypothesis import strategies as st

from buildtool.programs.buildserver.builds.processors import processors_told

SOME = st.integers(1, 256)


@given(SOME, st.none() | SOME, st.none() | SOME, st.integers(1, 64))
def test_each_build_is_told_its_share_of_what_was_said_or_else_of_what_it_may_use(
    usable: int, numcpus: int | None, cpus: int | None, builds: int
) -> None:
    told = processors_told(usable, argparse.Namespace(numcpus=numcpus, cpus=cpus), builds)
    all_of_them = numcpus if numcpus is not None else min(usable, cpus or usable)
    assert told >= 1
    assert told == 1 or told * builds <= all_of_them < (told + 1) * builds
