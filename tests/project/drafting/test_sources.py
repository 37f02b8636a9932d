"""A look at sources tells how they are built, and nothing that they hold does harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.project.drafting.sources import LOOKED_AT, SWITCHES, SourcesLook, Switch, look

SEEN: list[tuple[dict[str, str], set[str], SourcesLook]] = [
    (
        {"Cargo.toml": '[package]\nname = "my-tool"\n[[bin]]\nname = "extra"\n'
                       "[features]\ndefault = []\nfast-math = []\n",
         "Makefile": "all: x\n"},
        {"src/main.rs", "vendor", "Cargo.lock"},
        SourcesLook("cargo", "my-tool", ("my-tool", "extra"), (Switch("fast-math", "fast_math"),),
                    frozenset({"vendored", "locked"})),
    ),
    (
        {"go.mod": "module example.org/deep/tool/v2\n\ngo 1.19\n"},
        {"main.go"},
        SourcesLook("go", "tool", ("tool",)),
    ),
    (
        {"go.mod": "module example.org/tools\n"},
        {"cmd/one/main.go", "cmd/two/main.go", "vendor", "doc.go"},
        SourcesLook("go", "tools", ("one", "two"), (), frozenset({"vendored", "commands"})),
    ),
    (
        {"CMakeLists.txt": 'project(Ink LANGUAGES C)\n# option(OLD "gone" ON)\noption(WITH_X "draw" ON)\n'
                           "add_executable(ink ink.c)\ninstall(TARGETS ink)\nenable_testing()\n"},
        set(),
        SourcesLook("cmake", "Ink", ("ink",), (Switch("WITH_X", "with_x", default=True, help="draw"),),
                    frozenset({"installs", "tests"})),
    ),
    (
        {"configure.ac": "AC_INIT([Ink],[1.0])\nAC_ARG_ENABLE([color], [x])\nAC_ARG_ENABLE([shared], [x])\n"},
        set(),
        SourcesLook("autoconf", "Ink", (), (Switch("color", "color"),), frozenset({"generated"})),
    ),
    (
        {"configure": "PACKAGE_TARNAME='ink'\n  --enable-fast    be fast\n  --disable-FEATURE  do not\n"
                      "  --disable-nls  no translations\n  --disable-dependency-tracking  quick\n"},
        set(),
        SourcesLook("autoconf", "ink", (), (
            Switch("fast", "fast", help="be fast"), Switch("nls", "nls", True, "no translations"),
        )),
    ),
    (
        {"configure.ac": "AC_INIT([ink], [1.0])\nAC_ARG_ENABLE([nls], [AS_HELP_STRING([--disable-nls], [no words])],\n"
                         "[], [enable_nls=yes])\nAC_ARG_ENABLE(fast, AS_HELP_STRING(--enable-fast, be fast))\n"},
        set(),
        SourcesLook("autoconf", "ink", (), (
            Switch("nls", "nls", True, "no words"), Switch("fast", "fast", help="be fast"),
        ), frozenset({"generated"})),
    ),
    (
        {"pyproject.toml": '[project]\nname = "ink"\n[build-system]\nbuild-backend = "flit_core.buildapi"\n'},
        set(),
        SourcesLook("python", "ink", backend="flit_core.buildapi"),
    ),
    (
        {"setup.py": "setup(\n    name='ink', ext_modules=[])\n"},
        set(),
        SourcesLook("python", "ink", (), (), frozenset({"compiled"}), "setuptools.build_meta"),
    ),
    (
        {"package.json": '{"name": "@me/ink", "scripts": {"build": "x"}, "devDependencies": {"a": "1"}}'},
        {"package-lock.json"},
        SourcesLook("npm", "ink", (), (), frozenset({"builds", "locked", "depends"})),
    ),
    (
        {"Makefile": "CC ?= gcc\nBIN = tally\nOBJS = a.o \\\n  b.o\n.PHONY: all check\nall: $(BIN) extra check\n"
                     "$(BIN): $(OBJS)\n\t$(CC) -o $@ $(OBJS) # no: target\ncheck: ; ./tally\nX := a:b\n"},
        set(),
        SourcesLook("make", "", ("tally", "extra"), (), frozenset({"CC", "check"})),
    ),
    (
        {"makefile": "tool: tool.c\n\tcc -o tool tool.c\ninstall: tool\n\tinstall tool $(DESTDIR)/bin\n"},
        set(),
        SourcesLook("make", "", ("tool",), (), frozenset({"install", "DESTDIR"})),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "names", "found"), SEEN, ids=[one[2].system for one in SEEN])
def test_each_build_system_is_known_by_its_files(texts: dict[str, str], names: set[str], found: SourcesLook) -> None:
    assert look(texts, frozenset(names)) == found


def test_what_tells_nothing_is_refused_with_what_would_have_told() -> None:
    with pytest.raises(UsageError, match=r"nothing there tells how it is built: none of Cargo\.toml, go\.mod"):
        look({}, frozenset({"README"}))
    with pytest.raises(UsageError, match="its TOML cannot be read"):
        look({"Cargo.toml": "["}, frozenset())
    with pytest.raises(UsageError, match="its TOML cannot be read"):
        look({"Cargo.toml": f"a = {'9' * 5_000}"}, frozenset())
    with pytest.raises(UsageError, match=r"package.json cannot be read"):
        look({"package.json": "{"}, frozenset())
    with pytest.raises(UsageError, match="a build backend of its own"):
        look({"pyproject.toml": '[build-system]\nbackend-path = ["."]\nbuild-backend = "mine"'}, frozenset())


def test_options_never_have_names_that_are_taken_and_are_not_too_many() -> None:
    text = "".join(f'option(S{n} "s" OFF)\n' for n in range(SWITCHES + 5))
    assert len(look({"CMakeLists.txt": text}, frozenset()).switches) == SWITCHES
    text = 'option(FORCE "x")\noption(ARCH "x")\noption(SOURCE "x")\noption(Fine "x")\noption(FINE "y")\n'
    assert [one.spelled for one in look({"CMakeLists.txt": text}, frozenset()).switches] == ["Fine"]


@given(st.sampled_from(LOOKED_AT), st.text(max_size=200), st.frozensets(st.text(max_size=20), max_size=5))
def test_whatever_the_files_hold_a_look_ends_with_a_result_or_one_line(
    name: str, text: str, names: frozenset[str]
) -> None:
    switches: tuple[Switch, ...]
    try:
        found = look({name: text}, names)
    except UsageError as error:
        said, switches = str(error), ()
    else:
        said, switches = found.system, found.switches
    assert "\n" not in said
    assert all(len(one.help) <= 100 and one.help.isprintable() for one in switches)
