"""Which toolchains besides its own compiler a machine has, each tried before it is believed. Everything here blocks.

A toolchain is tried by what it makes: a small program must come out that is for the right system and architecture. An
emulator is one if it runs that program.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import field, frozen

from buildtool.adapters.host.programs import output_of
from buildtool.adapters.host.wine import seed_wine
from buildtool.errors import ConfigurationError, MachineFault
from buildtool.model.binaries.needs import needs_of
from buildtool.model.binaries.recognition import HEAD, targets_of
from buildtool.model.platforms import TRIPLES
from buildtool.model.servers import OfferKind

PROGRAMS: Mapping[str, str] = {
    "CC": "gcc", "CXX": "g++", "AR": "ar", "RANLIB": "ranlib", "STRIP": "strip", "LD": "ld", "NM": "nm",
}  # fmt: skip
"""The programs of a toolchain by their role for a recipe; each is called after the triple: ``<triple>-gcc``."""

SUFFIXES: Mapping[str, str] = {"windows": ".exe", "wasi": ".wasm"}
"""The end of a program's name on a system where it has one; a linker adds it by itself where it is left out."""

TIME_LIMIT = 20.0
"""Seconds that each step of a trial has; a machine that has just started reads its compiler from a cold disk."""

_AT_ONCE = 4
_REASON_SHOWN = 200
EMULATED = {"i686": "i386", "armv7l": "arm"}
"""What qemu calls architectures otherwise than this project."""

WHOLE = 8 * 2**20
"""Bytes of a program of a trial that are looked at, which is all of it."""

SAID = "built by buildtool"
"""What the program of a trial says."""

QUESTION = """\
#ifdef __linux__
#include <features.h>
#endif
#if defined __GLIBC__ && !defined __UCLIBC__
buildtool libc glibc __GLIBC__ __GLIBC_MINOR__
#endif
#if defined __clang__
buildtool cc clang __clang_major__ __clang_minor__ __clang_patchlevel__
#elif defined __GNUC__
buildtool cc gcc __GNUC__ __GNUC_MINOR__ __GNUC_PATCHLEVEL__
#endif
"""
"""What the preprocessor answers for the library's headers and for itself; nothing of it is compiled."""

TRIAL = f"""\
#include <stdio.h>
int main(void) {{ return puts("{SAID}") < 0; }}
"""
"""The program of a trial."""


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(shlex.split(value) if isinstance(value, str) else value)


@frozen
class NamedToolchain:
    """A toolchain as it is named, before it is tried. What is None is found out.

    ``tools`` are command lines by role, in the place of the programs that are called after the triple. An empty
    ``run`` says that nothing here runs what it makes. ``where`` says where it was named, for the error when it does
    not hold what it promises; one without is only looked for. One that is ``packaged`` is a distribution's
    (``packaged_toolchains.py``), and stands behind others for the same.
    """

    triple: str
    arch: str
    kind: OfferKind = OfferKind.CROSS
    tools: Mapping[str, str] = field(factory=dict)
    libc: str | None = None
    libc_version: str | None = None
    run: tuple[str, ...] | None = None
    where: str = ""
    os: str = "linux"
    packaged: bool = False

    @property
    def compiler(self) -> tuple[str, ...]:
        """The words of the command that compiles C."""
        return _words(self.tools.get("CC", f"{self.triple}-gcc"))


@frozen
class Toolchain:
    """A toolchain that was tried. ``tools`` are what a recipe is given: CC, AR …, HOST, CC_VERSION, and RUN if any.

    One that makes programs for any C library between two versions has the newest in ``up_to``.
    """

    arch: str
    kind: OfferKind
    libc: str | None
    libc_version: str | None
    tools: Mapping[str, str]
    os: str = "linux"
    up_to: str | None = None
    os_release: str | None = None
    packaged: bool = False


@frozen
class RejectedToolchain:
    """A toolchain that is there and does not work, and why."""

    triple: str
    why: str


@frozen
class ToolchainSurvey:
    """The findings: toolchains in the order in which they were named, and those that do not work."""

    toolchains: tuple[Toolchain, ...] = ()
    rejected: tuple[RejectedToolchain, ...] = ()


def known_toolchains(own_os: object, own_arch: object) -> list[NamedToolchain]:
    """Return the cross toolchains to look for on a machine: of every known triple but its own."""
    own = own_arch if own_os == "linux" else None
    return [NamedToolchain(triple, arch) for triple, arch in TRIPLES.items() if arch != own]


Ways = Callable[[NamedToolchain], Sequence[tuple[str, ...]]]
"""What may run the programs of a toolchain here: the words before a program, best first."""


def survey(
    named: Iterable[NamedToolchain],
    path: str | None = None,
    *,
    time_limit: float = TIME_LIMIT,
    ways: Ways = lambda _: (),
) -> ToolchainSurvey:
    """Try toolchains, several at once. ``path`` replaces PATH; ``time_limit`` is that of each step, in seconds.

    ``ways`` is asked what may run the programs of packaged ones. Raises ConfigurationError for one of the donor's own
    (it has a ``where``) that does not work.
    """
    search = path if path is not None else os.environ.get("PATH", os.defpath)
    there = [one for one in named if one.where or shutil.which(one.compiler[0], path=search)]
    with (
        # What an emulator of a system leaves running may still write there.
        tempfile.TemporaryDirectory(prefix="buildtool-toolchains-", ignore_cleanup_errors=True) as top,
        ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="toolchains") as pool,
    ):
        benches = (_Bench(Path(top) / str(number), search, time_limit, ways) for number in range(len(there)))
        found = list(pool.map(_tried, there, benches))
    for one, outcome in zip(there, found, strict=True):
        if one.where and isinstance(outcome, RejectedToolchain):
            raise ConfigurationError(f"{one.where}: {outcome.why}")
    return ToolchainSurvey(
        tuple(one for one in found if isinstance(one, Toolchain)),
        tuple(one for one in found if isinstance(one, RejectedToolchain)),
    )


def parse_answer(said: str) -> dict[str, tuple[str, str]]:
    """Return family and version by what was asked (``libc``, ``cc``) from the preprocessor's answer.

    What the compiler knows nothing of is left out, such as a library without a version in its headers (musl), and what
    no version can be: with a text without end the metaserver would not take what this machine offers.
    """
    found = {}
    for asked, family, numbers in re.findall(
        r"^[ \t]*buildtool (libc|cc) ([a-z]+)((?: +[0-9]{1,9}){1,4})[ \t]*$", said, re.MULTILINE
    ):
        found[asked] = (family, ".".join(numbers.split()))
    return found


def last_words(said: str) -> str:
    """Return, of what a failed compiler said, the line that tells most: its first error, else its last line."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    telling = next((line for line in lines if re.search(r"\berror\b|cannot find|not found", line)), None)
    line = telling or (lines[-1] if lines else "it said nothing, or took too long")
    plain = "".join(char if char.isprintable() else "?" for char in line)
    return plain if len(plain) <= _REASON_SHOWN else plain[: _REASON_SHOWN - 3] + "..."


# --- trying one -----------------------------------------------------------------------------------------


@frozen
class _Bench:
    """Where one toolchain is tried, and how."""

    directory: Path
    search: str
    time_limit: float
    ways: Ways

    def output(self, *command: str, any_code: bool = False) -> str | None:
        return output_of(command, path=self.search, any_code=any_code, time_limit=self.time_limit)

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=self.search)


def _tried(named: NamedToolchain, bench: _Bench) -> Toolchain | RejectedToolchain:
    tools = {**_programs(named, bench), **named.tools}
    compiler = named.compiler
    if not bench.which(compiler[0]):
        return RejectedToolchain(named.triple, f"there is no {compiler[0]}")
    missing = next((words for words in map(_words, named.tools.values()) if not bench.which(words[0])), None)
    if missing is not None:
        return RejectedToolchain(named.triple, f"there is no {missing[0]}")
    bench.directory.mkdir()
    made = bench.directory / f"program{SUFFIXES.get(named.os, '')}"
    source = made.with_suffix(".c")
    source.write_text(TRIAL, encoding="ascii")
    said = bench.output(*compiler, "-o", str(made), str(source), any_code=True)
    data = _data_of(made)
    if data is None:
        return RejectedToolchain(named.triple, f"{compiler[0]} makes no program: {last_words(said or '')}")
    targets = targets_of(data[:HEAD])
    if not any((target.os, target.arch) == (named.os, named.arch) for target in targets):
        found = ", ".join(target.words() for target in targets) or "nothing known"
        wanted = f"{named.os} on {named.arch}"
        return RejectedToolchain(named.triple, f"{compiler[0]} makes programs for {found}, not {wanted}")
    runner = _runner(named, compiler, made, bench)
    if isinstance(runner, RejectedToolchain):
        return runner
    question = bench.directory / "question.c"
    question.write_text(QUESTION, encoding="ascii")
    answer = parse_answer(bench.output(*compiler, "-E", "-P", str(question)) or "")
    libc, version = _libc(named, answer.get("libc") or _linked(named, data))
    more = {"HOST": named.triple, "RUN": shlex.join(runner), "CC_VERSION": "-".join(answer.get("cc", ()))}
    tools |= {role: text for role, text in more.items() if text}
    return Toolchain(named.arch, named.kind, libc, version, tools, named.os, packaged=named.packaged)


def _data_of(made: Path) -> bytes | None:
    """Return what was made, None where that is no file that can be read; a pipe would be waited for without end."""
    try:
        if not made.is_file():
            return None
        with made.open("rb") as stream:
            return stream.read(WHOLE)
    except OSError:
        return None


def _programs(named: NamedToolchain, bench: _Bench) -> dict[str, str]:
    called = {role: f"{named.triple}-{program}" for role, program in PROGRAMS.items()}
    return {role: program for role, program in called.items() if bench.which(program)}


def _linked(named: NamedToolchain, data: bytes) -> tuple[str, None] | None:
    """Return the C library that a program for another system imports: one compiler may have a choice of two."""
    family = None if named.os == "linux" else next((need.libc for need in needs_of(data) if need.libc), None)
    return None if family is None else (family, None)


def _libc(named: NamedToolchain, found: tuple[str, str | None] | None) -> tuple[str | None, str | None]:
    """Return family and version: what was named goes before what the headers say."""
    if found is None and re.search(r"-musl\w*$", named.triple):
        return named.libc or "musl", named.libc_version
    family, version = found or (None, None)
    if named.libc not in (None, family):
        version = None  # the headers speak of another library than the donor
    return named.libc or family, named.libc_version or version


# --- running what it makes ------------------------------------------------------------------------------


def _runner(
    named: NamedToolchain, compiler: tuple[str, ...], made: Path, bench: _Bench
) -> tuple[str, ...] | RejectedToolchain:
    """Return the words before a program that was made, so that it runs here; none when nothing runs it."""
    if named.kind is not OfferKind.CROSS:
        words = named.run or ()
        if _runs(words, made, bench):
            return words
        return RejectedToolchain(
            named.triple, f"what it makes does not run here, so it is not {named.kind.value} but cross"
        )
    if named.run is not None:
        if not named.run or _runs(named.run, made, bench):
            return named.run
        return RejectedToolchain(named.triple, f"{shlex.join(named.run)} does not run what it makes")
    if named.packaged:
        return next((words for words in bench.ways(named) if _runs_at_home(words, made, bench)), ())
    words = _emulated(named, compiler, bench)
    return words if words and _runs(words, made, bench) else ()


def _emulated(named: NamedToolchain, compiler: tuple[str, ...], bench: _Bench) -> tuple[str, ...]:
    emulator = _emulator(named.arch, bench)
    if emulator is None:
        return ()
    sysroot = _sysroot(named.triple, compiler, bench)
    return (emulator, "-L", sysroot) if sysroot else (emulator,)


def _runs(words: tuple[str, ...], made: Path, bench: _Bench) -> bool:
    return (bench.output(*words, str(made)) or "").strip() == SAID


def _runs_at_home(words: tuple[str, ...], made: Path, bench: _Bench) -> bool:
    """Return whether a program runs that has a home of its own: an emulator of a system makes one in the owner's."""
    home = bench.directory / "home"
    try:
        home.mkdir(exist_ok=True)
        seed_wine({"RUN": shlex.join(words)}, home, bench.search)
    except (OSError, MachineFault):
        return False
    return _runs(("env", f"HOME={home}", *words), made, bench)


def _emulator(arch: str, bench: _Bench) -> str | None:
    name = f"qemu-{EMULATED.get(arch, arch)}"
    return next((one for one in (f"{name}-static", name) if bench.which(one)), None)


def _sysroot(triple: str, compiler: tuple[str, ...], bench: _Bench) -> str | None:
    """Return the directory in which the programs' libraries are: Debian keeps them in ``/usr/<triple>``."""
    program = bench.which(compiler[0])
    there = Path(program or "/usr/bin/cc")
    for place in (there.parent.resolve(), there.resolve().parent):  # it may be a link, or in a directory of links
        beside = place.parent / triple
        if (beside / "lib").is_dir():
            return str(beside)
    said = (bench.output(*compiler, "-print-sysroot") or "").strip()
    return said if said not in ("", "/") and Path(said).is_dir() else None
