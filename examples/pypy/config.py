"""PyPy on the farm, with the options that it has itself: in groups, where one requires or suggests values of others.

The names are those of rpython/config/translationoption.py and pypy/config/pypyoption.py of PyPy 7.3.11: translation.gc
there is --translation-gc here. RPython needs a Python 2.7 to run in. Debian has none any more, so its source package
brings one along, which is built first, as debian/rules does it; --translated-by names another that is installed.

`examples/import_sources.py pypy` makes a repository of Debian's source package pypy3, the CPython 2.7 of it in
cpython27/. A translation takes an hour or more and 6 GiB of memory. README.rst beside this file says what of it was
tried.
"""

import os
from pathlib import Path

from buildtool.model.platforms import Value
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
    group,
    standard,
    text,
)

_SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

# What each level suggests, besides what is so at the level that is the default.
_PLAIN: dict[str, Value] = {
    "objspace.std.intshortcut": False,
    "objspace.std.optimized_list_getitem": False,
    "objspace.std.withspecialisedtuple": False,
}
_BOEHM: dict[str, Value] = {"translation.gc": "boehm", **_PLAIN}
_LOW_INLINE: dict[str, Value] = {"translation.backendopt.inline_threshold": "16.2"}
_NO_ASSERTS: dict[str, Value] = {"translation.backendopt.remove_asserts": True}

# PyPy's C API works with two of the collectors only.
_NO_CPYEXT: dict[str, Value] = {"objspace.usemodules.cpyext": False}

# Modules that are not made then, unless they are asked for.
_FEW: dict[str, Value] = {**_NO_CPYEXT, "translation.continuation": False}

# What is left out is as PyPy has it by itself. `requires` and `suggests` are PyPy's own.
_COMPILE = (
    choice(
        "opt",
        ["0", "1", "size", "mem", "2", "3", "jit"],
        default="2",
        help="how much is optimised (--opt)",
        suggests={
            "0": {"translation.backendopt.none": True, **_BOEHM},
            "1": {**_LOW_INLINE, **_BOEHM},
            "size": {**_LOW_INLINE, **_NO_ASSERTS, **_BOEHM},
            "mem": {**_LOW_INLINE, **_NO_ASSERTS, **_PLAIN, "objspace.std.withprebuiltint": True},
            "3": {**_NO_ASSERTS, "translation.profopt": True},
            "jit": {"translation.jit": True},
        },
    ),
    group(
        "translation",
        choice(
            "gc",
            ["incminimark", "minimark", "semispace", "generation", "hybrid", "statistics", "boehm", "ref", "none"],
            help="garbage collector",
            requires={
                "boehm": {"translation.gcrootfinder": "n/a", "translation.continuation": False},
                "ref": {"translation.gcrootfinder": "n/a", "translation.rweakref": False, **_NO_CPYEXT},
                "none": {"translation.gcrootfinder": "n/a", "translation.rweakref": False, **_NO_CPYEXT},
                **dict.fromkeys(["minimark", "semispace", "generation", "hybrid", "statistics"], _NO_CPYEXT),
            },
        ),
        choice("gcrootfinder", ["shadowstack", "n/a"], help="how the collector finds its roots"),
        flag(
            "jit",
            help="generate a just-in-time compiler",
            suggests={"translation.gc": "incminimark", "translation.gcrootfinder": "shadowstack"},
        ),
        choice("jit_backend", ["auto", "x86", "x86-without-sse2", "arm"], help="for which CPU the compiler is"),
        flag("continuation", default=True, help="stackless: greenlets and continulets"),
        flag("rweakref", default=True, help="weak references"),
        flag("shared", default=True, help="a library, and a small program that uses it"),
        flag("log", default=True, help="what PYPYLOG shows"),
        flag("lldebug", help="checks of the generated C"),
        flag("lto", help="optimise while linking", requires={"translation.gcrootfinder": "shadowstack"}),
        flag("profopt", help="compile twice, the second time by a profile"),
        group(
            "backendopt",
            flag(
                "none",
                help="no optimisation of the flow graphs",
                requires={
                    "translation.backendopt.inline": False,
                    "translation.backendopt.inline_threshold": "0",
                    "translation.backendopt.mallocs": False,
                },
            ),
            flag("inline", default=True, help="inline functions and remove mallocs"),
            text(
                "inline_threshold",
                default="32.4",
                pattern=r"[0-9]{1,3}(\.[0-9])?",
                shape="a number such as 32.4",
                help="how large what is inlined may be",
            ),
            flag("mallocs", default=True, help="remove mallocs"),
            flag("remove_asserts", help="leave assertions out"),
        ),
    ),
    group(
        "objspace",
        flag("allworkingmodules", default=True, help="all modules that work", suggests=_FEW),
        flag(
            "translationmodules",
            help="only those that a translation needs",
            suggests={"objspace.allworkingmodules": False, **_FEW},
        ),
        choice("hash", ["siphash24", "fnv"], help="hashes of texts"),
        group("usemodules", flag("cpyext", default=True, help="extensions written in C")),
        group(
            "std",
            flag("intshortcut", default=True, help="add small integers fast"),
            flag("optimized_list_getitem", default=True, help="index lists fast"),
            flag("withprebuiltint", help="prebuild small integers"),
            flag("withspecialisedtuple", default=True, help="tuples with unboxed members"),
        ),
    ),
    choice("translated_by", ["cpython27", "pypy", "python2.7"], help="which Python 2.7 runs RPython"),
)

_WITH_JIT = frozenset({"x86_64", "x86", "aarch64", "arm", "ppc64le", "s390x"})

# What RPython's command line calls them. A flag that has two words here is switched off by the second.
_WORDS: dict[str, tuple[str, str]] = {
    "translation_gc": ("--gc=", ""),
    "translation_gcrootfinder": ("--gcrootfinder=", ""),
    "translation_jit": ("--translation-jit", "--no-translation-jit"),
    "translation_jit_backend": ("--jit-backend=", ""),
    "translation_rweakref": ("--translation-rweakref", "--no-translation-rweakref"),
    "translation_shared": ("--shared", "--no-shared"),
    "translation_log": ("--log", "--no-log"),
    "translation_lldebug": ("--lldebug", "--no-lldebug"),
    "translation_lto": ("--lto", "--no-lto"),
    "translation_profopt": ("--profopt", "--no-profopt"),
    "translation_backendopt_none": ("--translation-backendopt-none", ""),
    "translation_backendopt_inline": ("--translation-backendopt-inline", "--no-translation-backendopt-inline"),
    "translation_backendopt_inline_threshold": ("--inline-threshold=", ""),
    "translation_backendopt_mallocs": ("--translation-backendopt-mallocs", "--no-translation-backendopt-mallocs"),
    "translation_backendopt_remove_asserts": ("--translation-backendopt-remove_asserts", ""),
}
_TARGET_WORDS: dict[str, tuple[str, str]] = {
    "objspace_allworkingmodules": ("--allworkingmodules", "--no-allworkingmodules"),
    "objspace_translationmodules": ("--translationmodules", ""),
    "objspace_hash": ("--hash=", ""),
    "objspace_usemodules_cpyext": ("--withmod-cpyext", "--withoutmod-cpyext"),
    # The module needs it: what is without the one is without the other.
    "translation_continuation": ("--withmod-_continuation", "--withoutmod-_continuation"),
    **{
        f"objspace_std_{name}": (f"--objspace-std-{name}", f"--no-objspace-std-{name}")
        for name in ("intshortcut", "optimized_list_getitem", "withprebuiltint", "withspecialisedtuple")
    },
}


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    if wanted.kind == "cross":
        raise ToolMissing("PyPy is translated on the platform that it is for")
    options = wanted.options
    chosen = options["translation_jit_backend"] != "auto"
    if options["translation_jit"] and not chosen and wanted.platform.get("arch") not in _WITH_JIT:
        raise ToolMissing("PyPy has no just-in-time compiler for that architecture")
    commands = []
    python = str(options["translated_by"])
    if python == "cpython27":
        python = "../../cpython27/python"
        commands += [
            Command(["sh", "configure"], cwd="cpython27", name="Python 2.7: configure"),
            Command(["make", f"-j{wanted.cpus}"], cwd="cpython27", name="Python 2.7: build"),
        ]
    words = [
        python, "-u", "../../rpython/bin/rpython", "--batch", f"--opt={options['opt']}",
        f"--make-jobs={wanted.cpus}", *_said(wanted, _WORDS), "targetpypystandalone", *_said(wanted, _TARGET_WORDS),
    ]  # fmt: skip
    library = ["pypy/goal/libpypy3.9-c.so"] if options["translation_shared"] else []
    return Plan(
        commands=[
            *commands,
            # RPython imports it from where it stands.
            Command(["ln", "-s", "../../lib_pypy/cffi/_pycparser", "pycparser"], cwd="pypy/goal", name="pycparser"),
            Command(words, cwd="pypy/goal", name="translate"),
            Command(["./pypy3.9-c", "-c", "import sys; print(sys.version)"], cwd="pypy/goal", name="self-check"),
        ],
        # Neither Python's random hashes nor where temporary files lie may get into what is made.
        environment={"PYTHONHASHSEED": "0", "PYPY_USESSION_BASENAME": "build", "PYPY_USESSION_KEEP": "1"},
        deliverables=["pypy/goal/pypy3.9-c", *library, "lib-python", "lib_pypy", "LICENSE"],
        machine_faults=[r"MemoryError", r"No space left on device", r"[Cc]annot allocate memory"],
    )


def _said(wanted: Wanted, spelled: dict[str, tuple[str, str]]) -> list[str]:
    """Return options as RPython takes them."""
    said = []
    for name, (word, negation) in sorted(spelled.items()):
        value = wanted.options[name]
        said.append(f"{word}{value}" if word.endswith("=") else word if value else negation)
    return [word for word in said if word]


def _path_to_url(source: str) -> str:
    """Return the repository's URL."""
    if source:
        raise LookupError(f"pypy has one repository only: leave out --source={source}")
    usual = Path(__file__).resolve().parents[2] / "var" / "pypy.git"
    return os.environ.get("BUILDTOOL_PYPY_REPOSITORY") or str(usual)


project = Project(
    name="pypy",
    description="PyPy, with the options of its own configuration",
    options=ProjectOptions(system=_SYSTEM, compile=_COMPILE),
    recipe=Recipe(version=2, plan=_plan, machine={"memory": 6144, "disk": 4096, "tools": ("gcc", "make")}),
    path_to_url=_path_to_url,
    time_limit=6 * 3600,
    silence_limit=3600,
)
