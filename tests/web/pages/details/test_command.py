"""The command line of a build asks for what the build makes, and for nothing that there is not."""

import shlex

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.model.options import Canonical, canonical, choice, flag, number, text, words
from buildtool.model.project_options import ProjectOptions
from buildtool.model.properties import standard
from buildtool.model.records import BuildSpec
from buildtool.model.trust.evidence import EvidencePolicy, SandboxLevel
from buildtool.programs.startcompile.command_line import parse
from buildtool.programs.startcompile.main import COMMAND_LINE
from buildtool.web.pages.details.command import command
from tests.programs.startcompile.test_command_line import project
from tests.programs.startcompile.test_command_line import settings as settings_with
from tests.strategies import policies
from tests.support.lanes import examples
from tests.web.farm import detail

OPTIONS = ProjectOptions(
    system=standard("os", "arch", "libc_version"),
    compile=(
        choice("checksum", ["crc32", "fnv1a"]),
        flag("utf8"),
        number("table_size", default=1024, minimum=16, maximum=65536),
        words("parts", choices=["a", "b"]),
        text("label"),
    ),
)
CONFIGURED = settings_with(project(OPTIONS))
PLATFORMS = st.fixed_dictionaries(
    {"os": st.sampled_from(["linux", "darwin"]), "arch": st.sampled_from(["ppc", "x86_64"])},
    optional={"libc_version": st.sampled_from(["2.31", "2.36"])},
)
CHOSEN = st.fixed_dictionaries(
    {},
    optional={
        "checksum": st.sampled_from(["crc32", "fnv1a"]),
        "utf8": st.booleans(),
        "table_size": st.sampled_from([16, 1024]),
        "parts": st.sampled_from([("a",), ("a", "b")]),
        "label": st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=5),
    },
)


def spec(options: Canonical, platform: Canonical, **more: object) -> BuildSpec:
    name = CONFIGURED.projects[0].name
    return evolve(detail(1).build.spec, project=name, options=options, platform=platform, **more)  # type: ignore[arg-type]


@settings(max_examples=examples(25))
@given(CHOSEN, PLATFORMS, st.booleans(), st.sampled_from(["", "main-repo"]), policies)
def test_it_is_read_as_all_that_the_build_makes(
    chosen: dict[str, object], platform: dict[str, str], native: bool, source: str, policy: EvidencePolicy
) -> None:
    wanted = spec(OPTIONS.compile_values(chosen), canonical(platform), native=native, source=source, policy=policy)
    line = shlex.split(command(wanted, OPTIONS, "ann@example.org"))
    (asked,) = parse(COMMAND_LINE, line[1:], lambda _path: CONFIGURED)[1].asked
    assert OPTIONS.compile_values(asked.compile) == wanted.options
    assert canonical(OPTIONS.system_values(asked.system)) == wanted.platform
    assert (asked.email, asked.native) == ("ann@example.org", native)
    assert (asked.sandbox or SandboxLevel.NONE) is policy.sandbox
    assert (asked.tool["revision"], asked.tool.get("source", "")) == (wanted.revision, source)


def test_there_is_none_where_the_project_has_not_such_an_option_any_more() -> None:
    assert command(spec((("gone", 1),), (("arch", "ppc"),)), OPTIONS, "a@b.c") == ""
    assert command(spec((), (("endianness", "big"),)), OPTIONS, "a@b.c") == ""
