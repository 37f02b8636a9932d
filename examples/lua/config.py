"""Lua on the farm: a project that nobody here wrote, for every platform that a build server has a compiler for.

The sources come from `examples/import_sources.py lua`, one tag for each release. docs/tutorial.rst goes through
all of it; testproject/config.py explains what can stand in such a file at all.
"""

import os
import shlex
from pathlib import Path

from buildtool.model.platforms import Value
from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, Wanted, choice, flag, standard

HERE = Path(__file__).resolve().parent

# --- options --------------------------------------------------------------------------------------------

SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

# What people set when they build Lua by hand; in brackets the name that it has in Lua's own sources. There is no option
# for readline: it would be a library that the requester's machine must have, and which no cross compiler here has.
COMPILE = (
    choice("numbers", ["64bit", "32bit"], help="size of integers and floats in Lua programs (LUA_32BITS)"),
    flag("compat", default=True, help="keep what Lua 5.3 had, such as math.pow (LUA_COMPAT_5_3)"),
    flag("modules", default=True, help="let programs load modules written in C (LUA_USE_DLOPEN)"),
    flag("assertions", help="check the interpreter's own invariants, slowly (LUAI_ASSERT)"),
    flag("apicheck", help="check how C programs call the library (LUA_USE_APICHECK)"),
    choice("optimize", ["2", "3", "s", "0"], help="optimisation level of the compiler"),
)

# --- recipe ---------------------------------------------------------------------------------------------

# Lua's makefile knows platforms by name. What it would choose for each is this, by system and `modules`: macros, and
# what programs are linked with.
_SYSTEM_FLAGS = {
    ("linux", True): ("-DLUA_USE_LINUX", "-Wl,-E -ldl"),
    ("darwin", True): ("-DLUA_USE_MACOSX", ""),
    # Lua's headers know this one by themselves.
    ("windows", True): ("", ""),
    ("windows", False): ("", ""),
}
# WASI has libraries that do as if there were signals and clocks of processes. Lua's errors need setjmp(), which the
# compiler makes of WebAssembly's exceptions; it calls three functions for that, which wasi.c has.
_EXCEPTIONS = "-mexception-handling -mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh=false"
_WASI_FLAGS = (
    f"-D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -include wasi.h {_EXCEPTIONS}",
    "-lwasi-emulated-signal -lwasi-emulated-process-clocks",
)
_WITHOUT_MODULES = ("-DLUA_USE_POSIX", "")
_SUFFIXES = {"windows": ".exe", "wasi": ".wasm"}

# The header goes out with the library, so it must say how the library was made: the compiler's -D would be lost. In
# 5.4.2 the line is a comment, later a definition that overrides -D.
_SHORT = r"s|^\(/\* \)\{0,1\}#define LUA_32BITS.*|#define LUA_32BITS 1|"

# Read once when the configuration is, not by the recipe, which does nothing but answer.
_CHECK = (HERE / "check.lua").read_text(encoding="utf-8")
_WASI = {name: (HERE / "wasi" / name).read_text(encoding="utf-8") for name in ("wasi.h", "wasi.c")}


def plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    options, tools = wanted.options, wanted.tools
    system = str(wanted.platform.get("os"))
    variables = _variables(wanted)
    lua, luac = (f"{name}{_SUFFIXES.get(system, '')}" for name in ("lua", "luac"))
    commands = []
    if options["numbers"] == "32bit":
        commands += [
            Command(["sed", "-i.orig", "-e", _SHORT, "src/luaconf.h"], name="32-bit numbers"),
            # sed is content when it finds nothing to change.
            Command(["grep", "-q", "^#define LUA_32BITS 1$", "src/luaconf.h"], name="32-bit numbers: check"),
        ]
    if system == "windows" and not options["modules"]:
        commands.append(
            Command(["sed", "-i.orig", "-e", "s|^#define LUA_DL_DLL.*||", "src/luaconf.h"], name="no modules")
        )
    if system == "wasi":
        for name, text in _WASI.items():
            written = ["sh", "-c", 'printf %s "$1" > "src/$2"', "sh", text, name]
            commands.append(Command(written, name=f"what WASI lacks: {name}"))
    commands += [
        # The target `all` of src/ builds with exactly these flags; those of the top directory guess.
        Command(["make", "-C", "src", f"-j{wanted.cpus}", "all", *variables], name="build"),
        # Relative to src/ and doc/, in which the makefile copies: a directory of our own beside them.
        Command(["make", "install", "INSTALL_TOP=../lua", f"TO_BIN={lua} {luac}"], name="install"),
    ]
    if system in {"linux", "windows"} and "STRIP" in tools:
        strip = shlex.split(tools["STRIP"])
        commands.append(Command([*strip, f"lua/bin/{lua}", f"lua/bin/{luac}"], name="strip"))
    if wanted.can_run:
        commands += _self_check(wanted, f"lua/bin/{lua}", f"lua/bin/{luac}")
    return Plan(
        commands=commands,
        environment={"LC_ALL": "C"},
        # Each is named, so that a makefile which built nothing and said that all went well is found out.
        deliverables=[
            f"lua/bin/{lua}",
            f"lua/bin/{luac}",
            "lua/lib/liblua.a",
            "lua/include/lua.h",
            "lua/include/luaconf.h",
            "lua/include/lualib.h",
            "lua/include/lauxlib.h",
            "lua/include/lua.hpp",
            "lua/man",
            "README",
            "doc/readme.html",  # holds the licence, which has to go with every copy
        ],
        machine_faults=[
            r"No space left on device",
            r"[Cc]annot allocate memory",
            r"virtual memory exhausted",
            r"Killed signal terminated program",
            r"qemu-\S+: Could not open",
        ],
    )


def _variables(wanted: Wanted) -> list[str]:
    """What make is told. Words in it go through a shell; all of them are ours or the machine's tools."""
    options, tools = wanted.options, wanted.tools
    system = str(wanted.platform.get("os"))
    usual = _WASI_FLAGS if system == "wasi" else _WITHOUT_MODULES
    macros, libraries = _SYSTEM_FLAGS.get((system, options["modules"] is True), usual)
    cflags = ["-std=gnu99", f"-O{options['optimize']}", "-Wall", "-Wextra", macros]
    for name, macro in (
        ("compat", "LUA_COMPAT_5_3"),
        ("assertions", "LUAI_ASSERT"),
        ("apicheck", "LUA_USE_APICHECK"),
    ):
        if options[name]:
            cflags.append(f"-D{macro}")
    # GNU ar and ranlib: D leaves out times and owners, which would make every library another one.
    same = system == "linux"
    # What is linked says how it is optimised, too, since some compilers bring libraries for that; and GNU's linker puts
    # the time into programs for Windows unless it is told not to.
    linked = [f"-O{options['optimize']}"]
    if system == "windows" and tools.get("CC_VERSION", "").startswith("gcc-"):
        linked.append("-Wl,--no-insert-timestamp")
    return [
        f"CC={tools.get('CC', 'cc')}",
        f"AR={tools.get('AR', 'ar')} {'rcD' if same else 'rc'}",
        f"RANLIB={tools.get('RANLIB', 'ranlib')}{' -D' if same else ''}",
        f"CFLAGS={' '.join(cflags)}",
        f"MYLDFLAGS={' '.join(linked)}",
        f"SYSLIBS={libraries}",
        f"LUA_T=lua{_SUFFIXES.get(system, '')}",
        f"LUAC_T=luac{_SUFFIXES.get(system, '')}",
        *(["MYOBJS=wasi.o"] if system == "wasi" else []),
        # Three files are compiled without saying into what: some compilers for Windows would call that .obj.
        *(["CMCFLAGS=-o $@"] if system == "windows" else []),
    ]


def _self_check(wanted: Wanted, *programs: str) -> list[Command]:
    """Run a script with what was built, and one that luac compiled: in an emulator where it needs one."""
    want = {
        "bits": wanted.platform.get("bits"),
        "byteorder": wanted.platform.get("byteorder"),
        "short": wanted.options["numbers"] == "32bit",
        "compat": wanted.options["compat"],
        "modules": wanted.options["modules"] is True and wanted.platform.get("os") in {"linux", "darwin", "windows"},
    }
    table = ", ".join(f"{name} = {_lua(value)}" for name, value in want.items())
    lua, luac = ([*wanted.emulator, program] for program in programs)
    return [
        # One text, that begins with no "-": Lua would take a comment for an option.
        Command([*lua, "-e", f"want = {{{table}}}\n{_CHECK}"], name="self-check"),
        Command([*luac, "-o", "check-compiled.out", "check-compiled.lua"], name="self-check: luac"),
        Command([*lua, "check-compiled.out"], name="self-check: compiled"),
    ]


def _lua(value: Value | None) -> str:
    """Write a value as Lua does. Texts are of the platform: letters, digits and little else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'


RECIPE = Recipe(
    version=1,
    plan=plan,
    machine={"memory": 128, "disk": 64, "tools": ("gcc", "make")},
    packages={
        "gcc": {"debian": "gcc libc6-dev", "fedora": "gcc", "homebrew": "gcc"},
        "make": {"debian": "make", "fedora": "make", "homebrew": "make"},
    },
)

# --- where the sources are ------------------------------------------------------------------------------

# Where import_sources.py puts them when it is not told otherwise.
_REPOSITORY = os.environ.get("BUILDTOOL_LUA_REPOSITORY") or str(HERE.parent.parent / "var" / "lua.git")


def path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"lua has one repository only: leave out --source={source}")
    return _REPOSITORY


# --- the project ----------------------------------------------------------------------------------------

project = Project(
    name="lua",
    description="Lua 5.4: interpreter, compiler and library",
    options=ProjectOptions(system=SYSTEM, compile=COMPILE),
    recipe=RECIPE,
    path_to_url=path_to_url,
    confirm_failures=1,
    time_limit=600,
    silence_limit=300,
)
