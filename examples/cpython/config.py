"""CPython on the farm, from Debian's source, with the options that CPython's own build farm gives to configure.

The sources come from `examples/import_sources.py cpython`, as one tag. A build takes a quarter of an hour of one
processor as it is, ten times that with --pgo, and a minute or two with --debug --optimize=0 --no-test-modules.

Which of the optional modules configure finds depends on the machine, so here it does not: --libraries names those that
are made, all others are left out, and what is named and cannot be made has another machine tried.
"""

import os
import shlex
from pathlib import Path

from buildtool.project import (
    Command,
    Plan,
    Project,
    ProjectOptions,
    Recipe,
    ToolMissing,
    Wanted,
    choice,
    flag,
    standard,
    text,
    words,
)

_SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

# The modules that need a library of others, by the name of that. What is linked with it runs only where it is.
_LIBRARIES = {
    "bz2": ("_bz2",),
    "crypt": ("_crypt",),
    "curses": ("_curses", "_curses_panel"),
    "dbm": ("_dbm",),
    "ffi": ("_ctypes",),
    "gdbm": ("_gdbm",),
    "lzma": ("_lzma",),
    "nis": ("nis",),
    "readline": ("readline",),
    "sqlite": ("_sqlite3",),
    "ssl": ("_ssl", "_hashlib"),
    "tk": ("_tkinter",),
    "uuid": ("_uuid",),
}

_TESTS, _SHAPE = r"(test_\w+( test_\w+)*)?", "names of tests, such as test_grammar"

# In brackets, what configure calls it.
_COMPILE = (
    flag("debug", help="checks for who writes extensions and the interpreter itself (--with-pydebug)"),
    flag("assertions", help="C assertions, without the rest of --debug (--with-assertions)"),
    flag("trace_refs", help="know all living objects (--with-trace-refs)", suggests={"debug": True}),
    choice("optimize", ["own", "0", "1", "2", "3", "s"], help="optimisation of the compiler (own: 3, g with --debug)"),
    flag("pgo", help="compile twice, the second time by a profile: slow (--enable-optimizations)"),
    text("profile", pattern=_TESTS, shape=_SHAPE, help="tests that --pgo takes its profile of (none: CPython's)"),
    flag("lto", help="optimise while linking (--with-lto)"),
    flag("shared", help="a shared library, and a small program that uses it (--enable-shared)"),
    flag("ipv6", default=True, help="IPv6 sockets (--disable-ipv6)"),
    flag("pymalloc", default=True, help="CPython's own allocator (--without-pymalloc)"),
    flag("doc_strings", default=True, help="docstrings of what is written in C (--without-doc-strings)"),
    choice("hash", ["siphash13", "siphash24", "fnv"], help="hashes of texts (--with-hash-algorithm)"),
    choice(
        "sanitizer",
        ["none", "address", "undefined"],
        help="have the compiler check memory or behaviour (--with-address-sanitizer)",
        requires={"address": {"pymalloc": False}},
    ),
    words("libraries", choices=tuple(_LIBRARIES), help="whose modules are made"),
    flag("test_modules", default=True, help="deliver CPython's tests too (--disable-test-modules)"),
    text(
        "tests",
        default="test_builtin test_grammar",
        pattern=_TESTS,
        shape=_SHAPE,
        help="which of CPython's tests it has to pass",
    ),
)

_SWITCHES = {
    "debug": ("--with-pydebug", ""),
    "assertions": ("--with-assertions", ""),
    "trace_refs": ("--with-trace-refs", ""),
    "pgo": ("--enable-optimizations", ""),
    "lto": ("--with-lto", ""),
    "shared": ("--enable-shared", ""),
    "ipv6": ("", "--disable-ipv6"),
    "pymalloc": ("", "--without-pymalloc"),
    "doc_strings": ("", "--without-doc-strings"),
    "test_modules": ("", "--disable-test-modules"),
}
"""By option what configure is told where it is on, and where it is off."""

# Some files say how they were built, and where. Nothing that names the directory may be delivered, or two machines
# would make different ones. Compiled modules are left out too: Python makes them where it runs, and never quite alike.
_TIDY = """\
import pathlib, shutil, sys
place = sys.argv[1].encode()
for path in sorted(pathlib.Path("cpython").rglob("*")):
    if path.name == "__pycache__":
        shutil.rmtree(path)
    elif path.is_file() and not path.is_symlink() and path.suffix not in (".so", ".a"):
        text = path.read_bytes()
        if place in text and b"\\0" not in text:
            path.write_bytes(text.replace(place, b"/usr/src/cpython"))
"""

_FIND = ["find", "cpython/lib", "-name", "*.so*", "-type", "f"]


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    if wanted.kind == "cross":
        raise ToolMissing("CPython builds others with the same CPython of its own, which no machine here has")
    options = wanted.options
    chosen = _chosen(wanted)
    left_out = [module for name, modules in _LIBRARIES.items() if name not in chosen for module in modules]
    needed = ["zlib", *(module for name in chosen for module in _LIBRARIES[name])]
    commands = [
        Command(["sh", "-c", 'printf "%s\\n" "*disabled*" "$@" >Modules/Setup.local', "sh", *left_out], name="modules"),
        Command(_configure(wanted), name="configure"),
        Command(["make", f"-j{wanted.cpus}"], name="build"),
        Command([*_python(wanted), "-c", f"import {', '.join(needed)}"], name="self-check: modules"),
    ]
    if options["tests"]:
        check = [*_python(wanted), "-m", "test", f"-j{wanted.cpus}", "--timeout=600", *str(options["tests"]).split()]
        commands.append(Command(check, name="self-check: tests"))
    commands += [
        Command(["make", "install", f"DESTDIR={wanted.source}"], name="install"),
        Command([*_python(wanted), "-c", _TIDY, str(wanted.source)], name="tidy"),
    ]
    if not options["debug"] and wanted.platform.get("os") == "linux" and "STRIP" in wanted.tools:
        strip = [*shlex.split(wanted.tools["STRIP"]), "-g"]
        commands.append(Command([*strip, "cpython/bin/python3.11"], name="strip"))
        commands.append(Command([*_FIND, "-exec", *strip, "{}", "+"], name="strip: modules"))
    return Plan(
        commands=commands,
        environment={
            "LC_ALL": "C.UTF-8",
            "PYTHONHASHSEED": "0",
            # What lives until a program's end is no leak, and Python's tests ask for more memory than there is.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=0",
        },
        deliverables=["cpython", "LICENSE"],
        machine_faults=[
            # Its library is not installed here.
            rf"ModuleNotFoundError: No module named '({'|'.join(needed)})'",
            r"No space left on device",
            r"[Cc]annot allocate memory",
            r"Killed signal terminated program",
        ],
    )


def _configure(wanted: Wanted) -> list[str]:
    """Return the call of configure. The prefix is no real place: Python finds its files from where it stands."""
    options = wanted.options
    level = "" if options["optimize"] == "own" else f"-O{options['optimize']} "
    said = ["./configure", "--prefix=/cpython", "--without-ensurepip", "--without-static-libpython"]
    said += [on if options[name] else off for name, (on, off) in _SWITCHES.items()]
    said += [f"--with-hash-algorithm={options['hash']}"]
    if options["sanitizer"] == "address":
        said.append("--with-address-sanitizer")
    elif options["sanitizer"] == "undefined":
        said.append("--with-undefined-behavior-sanitizer")
    if options["shared"]:  # where the library is, from where the program is
        said.append(r"LDFLAGS=-Wl,-rpath,'\$\$ORIGIN/../lib'")
    if options["profile"]:
        said.append(f"PROFILE_TASK=-m test --pgo {options['profile']}")
    said += [
        f"CC={wanted.tools['CC']}",
        f"CFLAGS={level}{shlex.quote(f'-ffile-prefix-map={wanted.source}=.')}",
        "HAS_GIT=not-found",  # or it would say what it was called there, besides the commit
    ]
    return [word for word in said if word]


def _python(wanted: Wanted) -> list[str]:
    """Return how the interpreter is called that was built."""
    where = [f"LD_LIBRARY_PATH={wanted.source}"] if wanted.options["shared"] else []
    return ["env", *where, "./python"]


def _chosen(wanted: Wanted) -> list[str]:
    found = wanted.options["libraries"]
    return list(found) if isinstance(found, tuple) else []


def _path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"cpython has one repository only: leave out --source={source}")
    # Where import_sources.py puts it when it is not told otherwise.
    usual = Path(__file__).resolve().parents[2] / "var" / "cpython.git"
    return os.environ.get("BUILDTOOL_CPYTHON_REPOSITORY") or str(usual)


project = Project(
    name="cpython",
    description="CPython, with the options of its own build farm",
    options=ProjectOptions(system=_SYSTEM, compile=_COMPILE),
    recipe=Recipe(
        version=1,
        plan=_plan,
        machine={"memory": 1024, "disk": 1024, "tools": ("gcc", "make")},
        packages={
            "gcc": {"debian": "gcc libc6-dev zlib1g-dev", "fedora": "gcc zlib-devel", "homebrew": "gcc"},
        },
    ),
    path_to_url=_path_to_url,
    time_limit=3 * 3600,
    silence_limit=1800,  # while the tests of a profile run, or the linker optimises, nothing is printed
)
