"""The integrator's example: how a project of one's own gets onto the farm. Copy this file and change it.

A project is described by four things: the options that people may set, the recipe that turns them into commands, where
its sources are, and what a build server looks at before it accepts. The metaserver uses the first and the third, a
build server all of them, startcompile.py the first. So all of them need this file, and the same version of it: the
recipe's version and the options are compared when a build server logs in.

The deployment's config.py loads this file with load("testproject/config.py") and takes what is called `project` here.
"""

import os
import shlex
from pathlib import Path

from buildtool.project import (
    Checked,
    Command,
    Plan,
    Project,
    ProjectOptions,
    Recipe,
    Wanted,
    choice,
    flag,
    number,
    standard,
)

# --- options --------------------------------------------------------------------------------------------

# System options say for which platform a binary is, and what a machine needs to build it. `standard` picks from those
# that the farm knows how to detect. The first seven describe the binary: they decide whether a finished one will do for
# a requester (same os, arch, bits, byteorder and libc; libc_version and cpu_level at most theirs). The others describe
# the machine: a requester may ask for --memory=4096, and the recipe declares what it needs below.
SYSTEM = standard(
    "os", "arch", "bits", "byteorder", "libc", "libc_version", "cpu_level", "memory", "cpus", "disk", "tools"
)

# Compile options change the binary: two requests that differ in one of them never share an artifact. Each becomes a
# flag of startcompile.py (--checksum=fnv1a, --utf8=yes, --table-size=64) and a row of its --help. There are choice,
# flag, number, text and words (a set). A default makes an option optional; `requires={"utf8": True}` would make one
# option depend on another.
COMPILE = (
    choice("checksum", ["crc32", "adler32", "fnv1a"], help="checksum that tally prints"),
    flag("utf8", help="count characters of UTF-8 text instead of bytes"),
    number("table_size", default=1024, minimum=16, maximum=65536, help="how many different words are told apart"),
)

# --- recipe ---------------------------------------------------------------------------------------------


def plan(wanted: Wanted) -> Plan:
    """Answer how to build what is wanted. It must do nothing but answer: no files, no clock, no environment."""
    # The commands run in wanted.source, the checked-out tree. Nothing that names this directory may get into the
    # binary, or two machines would make different ones. There is no shell here, but make starts one: hence the quotes.
    # No -march either: what the compiler makes unasked runs on every processor of its architecture.
    cflags = "-O2 " + shlex.quote(f"-ffile-prefix-map={wanted.source}=.")
    # Where programs have an end to their name it is part of what is built, so that the self-check runs that.
    program = {"windows": "tally.exe", "wasi": "tally.wasm"}.get(str(wanted.platform.get("os")), "tally")
    variables = [
        f"PROGRAM={program}",
        # `tools` holds what this build server builds this platform with: a cross build has CC=powerpc-linux-gnu-gcc.
        f"CC={wanted.tools.get('CC', 'gcc')}",
        f"AR={wanted.tools.get('AR', 'ar')}",
        f"STRIP={wanted.tools.get('STRIP', 'strip')}",
        f"CFLAGS={cflags}",
        # Every compile option has a value here: the requester's, or the default.
        f"CHECKSUM={wanted.options['checksum']}",
        f"UTF8={1 if wanted.options['utf8'] else 0}",
        f"TABLE_SIZE={wanted.options['table_size']}",
    ]
    commands = [Command(["make", f"-j{wanted.cpus}", *variables], name="build")]
    # What was cross-built runs here only in an emulator. Where there is one, `emulator` are the words to put before it:
    # qemu-ppc-static -L /usr/powerpc-linux-gnu
    if wanted.can_run:
        run = f"RUN={shlex.join(wanted.emulator)}"
        commands.append(Command(["make", "check", *variables, run], name="self-check"))
    return Plan(
        # Run one after another, without a shell. The first that fails ends the build: the project's own failure.
        commands=commands,
        # Added to a minimal environment (PATH, HOME and TMPDIR of the build's own, LANG=C.UTF-8).
        environment={"LC_ALL": "C"},
        # What goes into the artifact. Each must be there, or the build has failed after all.
        deliverables=[program, "README"],
        # What the end of a failed command's output says when the machine is at fault and not the project. Such a
        # build is tried again on another machine and nobody is told that the project is broken.
        machine_faults=[
            r"No space left on device",
            r"[Cc]annot allocate memory",
            r"virtual memory exhausted",
            r"Killed signal terminated program",
            r"qemu-\S+: Could not open",
        ],
    )


RECIPE = Recipe(
    # Raise this number whenever the same inputs would give another binary: artifacts of older versions are not given
    # out any more, and build servers that still have the older file are told to update.
    version=1,
    plan=plan,
    # What every build needs of its machine (MiB for memory and disk).
    machine={"memory": 64, "disk": 64, "tools": ("gcc", "make")},
    # Which packages have those tools, for the line that a build server's `doctor` and `show-info` print where one is
    # missing. (Those of common tools are known, so these two could be left out.)
    packages={
        "gcc": {"debian": "gcc libc6-dev", "fedora": "gcc", "homebrew": "gcc"},
        "make": {"debian": "make", "fedora": "make", "homebrew": "make"},
    },
)

# --- where the sources are ------------------------------------------------------------------------------

# `make sources` imports source/ into a git repository here; the demo makes one of its own and names it.
_REPOSITORY = os.environ.get("BUILDTOOL_TESTPROJECT_REPOSITORY") or str(
    Path(__file__).resolve().parent.parent / "var" / "testproject.git"
)


def path_to_url(source: str) -> str:
    """Return the repository's URL for what was asked for with --source ("" when it was left out).

    Requesters only ever name one of *your* sources: what is not listed here cannot be fetched. A project with several
    repositories looks the source up in a dictionary; LookupError says that there is no such source.
    """
    if source:
        raise LookupError(f"testproject has one repository only: leave out --source={source}")
    return _REPOSITORY


# --- what a build server looks at before it accepts -----------------------------------------------------


def enough_disk(checked: Checked) -> str | None:
    """Refuse while the disk is nearly full; the build goes to another machine and is offered here again later."""
    free = checked.machine.get("disk")
    if isinstance(free, int) and free < 64:
        return f"only {free} MiB of disk are free, 64 are needed"
    return None


# A donor who needs their machine for themselves writes the reason into this file, and deletes it afterwards.
# (An account without a home has no such file: then the ~ stays, and nothing is found.)
_REFUSE = Path(os.path.expanduser(os.environ.get("BUILDTOOL_REFUSE_FILE", "~/.buildtool-refuse")))  # noqa: PTH111 - Path.expanduser() raises then


def owner_agrees(checked: Checked) -> str | None:  # noqa: ARG001 - every checker is given it
    """Refuse while the machine's owner says so."""
    try:
        with _REFUSE.open(encoding="utf-8", errors="replace") as reason:
            return reason.readline(200).strip() or "the owner of this machine needs it now"
    except OSError:
        return None  # there is no such file, or this account may not read it


# --- the project ----------------------------------------------------------------------------------------

project = Project(
    # Letters, digits, - and _; the first part of every artifact's name.
    name="testproject",
    description="tally, which says what is in a text",
    options=ProjectOptions(system=SYSTEM, compile=COMPILE),
    recipe=RECIPE,
    path_to_url=path_to_url,
    client_checkers=[enough_disk, owner_agrees],
    # A failure is repeated once on another machine before everybody is told.
    confirm_failures=1,
    # Seconds that all commands together may take, and that one may be silent for, before the *project* is to blame.
    time_limit=600,
    silence_limit=300,
)
