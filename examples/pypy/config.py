"""PyPy on the farm, with the options that it has itself: in groups, where one requires or suggests values of others.

The names are those of rpython/config/translationoption.py and pypy/config/pypyoption.py: translation.gc there is
--translation-gc here. A build server needs a Python 2.7 in which RPython runs, called pypy: Debian 12 has no package of
one. A translation takes an hour or more, and 6 GiB of memory. The sources are those of `apt-get source pypy3`, in a
repository that $BUILDTOOL_PYPY_REPOSITORY names.

The tests of this checkout try the options and the recipe's answers; they translate nothing.
"""

import os
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
    group,
    number,
    standard,
)

_SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

# What is left out is as PyPy has it by itself. `requires` and `suggests` are PyPy's own.
_COMPILE = (
    choice(
        "opt",
        ["0", "1", "size", "mem", "2", "3", "jit"],
        default="2",
        help="how much is optimised (--opt)",
        suggests={
            "0": {"translation.gc": "boehm", "translation.backendopt.none": True},
            "1": {"translation.gc": "boehm"},
            "size": {"translation.gc": "boehm"},
            "mem": {"translation.gc": "incminimark"},
            "3": {"translation.gc": "incminimark"},
            "jit": {"translation.gc": "incminimark", "translation.jit": True},
        },
    ),
    group(
        "translation",
        choice(
            "gc",
            ["incminimark", "minimark", "semispace", "generation", "hybrid", "statistics", "boehm", "ref", "none"],
            help="garbage collector",
            requires={
                "boehm": {"translation.gctransformer": "boehm", "translation.continuation": False},
                "ref": {"translation.gctransformer": "ref", "translation.rweakref": False},
                "none": {"translation.gctransformer": "none", "translation.rweakref": False},
            },
        ),
        choice("gctransformer", ["framework", "boehm", "ref", "none"], help="how code is made for the collector"),
        choice("gcrootfinder", ["shadowstack", "asmgcc", "n/a"], help="how a framework collector finds its roots"),
        flag(
            "jit",
            help="generate a just-in-time compiler",
            requires={"translation.gctransformer": "framework", "translation.backendopt.none": False},
            suggests={"translation.gc": "incminimark"},
        ),
        choice(
            "jit_backend", ["auto", "x86", "x86-without-sse2", "arm", "aarch64", "ppc", "s390x"], help="for which CPU"
        ),
        flag("continuation", default=True, help="stackless: greenlets and continulets"),
        flag("rweakref", default=True, help="weak references"),
        flag("thread", default=True, help="threads"),
        flag("sandbox", help="a process that makes no system call", requires={"translation.thread": False}),
        flag("shared", default=True, help="a library, and a small program that uses it"),
        group(
            "backendopt",
            flag("none", help="no optimisation of the flow graphs"),
            number("inline_threshold", default=32, minimum=0, maximum=1000, help="how large what is inlined may be"),
        ),
    ),
    group(
        "objspace",
        flag("allworkingmodules", default=True, help="all modules that work"),
        group(
            "std",
            flag("withprebuiltint", help="prebuild small integers"),
            flag("withspecialisedtuple", help="tuples with unboxed members"),
        ),
    ),
)

_WITH_JIT = frozenset({"x86_64", "x86", "aarch64", "arm", "ppc64le", "s390x"})


def _plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted."""
    if wanted.kind == "cross":
        raise ToolMissing("PyPy is translated on the platform that it is for")
    chosen = wanted.options["translation_jit_backend"] != "auto"
    if wanted.options["translation_jit"] and not chosen and wanted.platform.get("arch") not in _WITH_JIT:
        raise ToolMissing("PyPy has no just-in-time compiler for that architecture")
    words = [
        "pypy", "../../rpython/bin/rpython", "--batch", f"--opt={wanted.options['opt']}", "--output=pypy-built",
        f"--make-jobs={wanted.cpus}", *_said(wanted, "translation_"), "targetpypystandalone.py",
        *_said(wanted, "objspace_"),
    ]  # fmt: skip
    library = ["pypy/goal/libpypy-built.so"] if wanted.options["translation_shared"] else []
    return Plan(
        commands=[
            Command(words, cwd="pypy/goal", name="translate"),
            Command(["./pypy-built", "-c", "import sys; print(sys.version)"], cwd="pypy/goal", name="self-check"),
        ],
        # Neither Python's random hashes nor where temporary files lie may get into what is made.
        environment={"PYTHONHASHSEED": "0", "PYPY_USESSION_BASENAME": "build", "PYPY_USESSION_KEEP": "1"},
        deliverables=["pypy/goal/pypy-built", *library, "lib-python", "lib_pypy", "LICENSE"],
        machine_faults=[r"MemoryError", r"No space left on device", r"[Cc]annot allocate memory"],
    )


def _said(wanted: Wanted, group_: str) -> list[str]:
    """Return the options of a group as RPython takes them: --gc=..., --no-thread, --withprebuiltint.

    Those that PyPy works out of others are left to it.
    """
    words = []
    for name, value in sorted(wanted.options.items()):
        if not name.startswith(group_) or name in ("translation_gctransformer", "translation_backendopt_none"):
            continue
        short = _SHORT.get(name, name.removeprefix(group_)).replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{short}")
        else:
            words.append(f"--{short}={value}")
    return words


# What RPython calls them on its command line, where that is not the last part of the name.
_SHORT = {
    "translation_backendopt_inline_threshold": "translation-backendopt-inline_threshold",
    "objspace_std_withprebuiltint": "objspace-std-withprebuiltint",
    "objspace_std_withspecialisedtuple": "objspace-std-withspecialisedtuple",
}


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
    recipe=Recipe(
        version=1,
        plan=_plan,
        machine={"memory": 6144, "disk": 4096, "tools": ("pypy", "gcc", "make")},
        packages={"pypy": {"homebrew": "pypy"}},
    ),
    path_to_url=_path_to_url,
    time_limit=6 * 3600,
    silence_limit=3600,
)
