"""Servers that offer the same are asked once, which must not change who can build what."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.matching.reasons import unmet
from buildtool.model.records import Build, BuildSpec
from buildtool.model.servers import Offer, ProjectSkill, Server
from buildtool.scheduling.state.state import State
from tests.scheduling.worlds import POLICIES, SKILL, machine, spec
from tests.support.matching import can_build

ARCHES = st.sampled_from(["x86_64", "aarch64", "ppc"])
_capabilities = st.builds(
    machine,
    arch=ARCHES,
    libc_version=st.sampled_from(["2.31", "2.36"]),
    cross=st.sampled_from([(), ("ppc",), ("ppc", "aarch64")]),
    memory=st.sampled_from([512, 4096, 8192]),
    skill=st.sampled_from([SKILL, ProjectSkill("lua", 2, SKILL.options_digest)]),
    ranged=st.sampled_from([None, ("x86_64", "2.17", "2.44"), ("ppc", "2.30", "2.33")]),
)
_specs = st.builds(
    lambda revision, arch, libc, memory: spec(
        revision, platform={"os": "linux", "arch": arch, **libc}, machine={"memory": memory} if memory else {}
    ),
    st.integers(0, 4),
    ARCHES,
    st.sampled_from([{}, *({"libc": "glibc", "libc_version": one} for one in ("2.17", "2.28", "2.31", "2.35"))]),
    st.sampled_from([0, 1024, 8192]),
)
_servers = st.builds(
    lambda name, capability, connected: Server(name, 1, capability, connected, 0.0, 0.0),
    st.sampled_from("abcd"),
    _capabilities,
    st.booleans(),
)


@given(st.lists(_servers | _specs, max_size=30))
def test_who_can_build_what_is_what_each_server_answers_alone(steps: list[Server | BuildSpec]) -> None:
    state, number = State(POLICIES), 0
    for step in steps:
        if isinstance(step, Server):
            state.put(step)
        elif step.key() not in state.records.build_by_key:
            number += 1
            state.put(Build(number, step.key(), step, number, 0.0))
        for build in state.builds.values():
            alone = {
                name: can_build(build.spec, server.capability, SKILL, state.projects.compare("lua"))
                for name, server in state.servers.items()
            }
            able = {name: found for name, found in alone.items() if isinstance(found, Offer)}
            assert state.queue.capable(build) == {
                name: offer for name, offer in able.items() if state.servers[name].connected
            }
            for name, found in alone.items():
                verdict = state.groups.verdict(build, state.servers[name])
                assert verdict == (found if isinstance(found, Offer) else tuple(found))
                if isinstance(verdict, Offer):
                    assert not verdict.up_to
                    assert not unmet(build.spec.platform, dict(verdict.platform), {})
    state.journal.rollback()
    assert not state.servers
    assert not state.builds
