"""Zig's cache, kept warm: what it has compiled of each target's C library, and a copy of that for each build.

A target's library is compiled when it is first used, which takes up to a minute. So it is tried once, alone, with a
cache of its own, which then stays; builds get a copy, so that nothing that a build writes into its cache is ever seen
by another one. Everything here blocks.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from attrs import define, field, frozen

from buildtool.adapters.host.programs import output_of
from buildtool.adapters.host.toolchains import SUFFIXES, last_words
from buildtool.adapters.host.wine import seed_wine
from buildtool.adapters.host.zig.finding import ZigProgram
from buildtool.adapters.host.zig.targets import OLDEST, ZigTarget
from buildtool.adapters.storage.trees import never, remove_tree
from buildtool.errors import MachineFault
from buildtool.model.binaries.recognition import HEAD, targets_of

LONGEST = 900.0
"""Seconds that one step of warming has: a slow machine that is busy compiles a C library."""

RUNS = 20.0
"""Seconds that a small program has to run, in an emulator that starts cold."""

KEPT = 96
"""How many targets and versions are kept warm: each takes some 20 MiB, and those used longest ago go first."""

SEEDED = ("b", "h", "o")
"""What of a cache a build needs: what was compiled, and of what. The rest is for compiling the libraries themselves."""

GENTLY = 15
"""By how much what is compiled for nobody yet gives way to everything else on the processors."""

STRIPPED = "-s"
"""What zig is told before anything else: without it, what it links has the names of its own files in it.

A ``-g`` that comes after it goes before it.
"""

PLAIN, DEBUGGED = ("-O2",), ("-O2", "-g")
"""The ways of compiling that are warmed: each has libraries of its own, and these two are what makefiles say."""

SAID = "built by buildtool"

_SOURCE = f"""\
#include <stdio.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif
int main(void) {{
#ifdef __GLIBC__
    puts(gnu_get_libc_version());
#endif
    return puts("{SAID}") < 0;
}}
"""
_LOOK = 0.1


Ways = Sequence[tuple[str, ...]]
"""The words that may be put before a program to run it here, best first."""


@frozen
class WarmTarget:
    """A target whose cache is warm. ``oldest`` is the version that was tried, None where there are no versions.

    ``run`` are the words before a program that was made, so that it runs here; None when nothing runs it. ``here`` is
    the C library with which it then runs, where it brings none of its own.
    """

    target: ZigTarget
    oldest: str | None
    run: tuple[str, ...] | None
    here: str | None


@define(eq=False)
class WarmStore:
    """The warm caches of one zig below ``top``. ``runners`` says what may run programs of a target here, best first.

    ``nice`` returns by how much builds give way to everything else, and so what one of them waits for.
    """

    zig: ZigProgram
    top: Path
    runners: Callable[[ZigTarget], Ways]
    nice: Callable[[], int] = lambda: 0
    _locks: defaultdict[str, Lock] = field(factory=lambda: defaultdict(Lock))

    @property
    def place(self) -> Path:
        return self.top / self.zig.key

    def tidy(self) -> None:
        """Remove what other zigs left, and what was not finished. Raises OSError."""
        if self.top.is_dir():
            for entry in self.top.iterdir():
                if entry != self.place:
                    remove_tree(entry)
        if self.place.is_dir():
            for entry in self.place.iterdir():
                if entry.name.startswith("."):
                    remove_tree(entry)

    def warm(self, target: ZigTarget) -> WarmTarget | None:
        """Return what is known of a target that was tried before by what runs programs here, None for another one.

        What was installed or removed since then, or is hidden from builds, makes it one to be tried again.
        """
        found = self._tried_by(self.runners(target), self._oldest_of(target))
        if found is None:
            return None
        run, here = found.get("run"), found.get("here")
        words = tuple(map(str, run)) if isinstance(run, list) else None
        return WarmTarget(target, self._oldest(target), words, str(here) if here else None)

    def try_target(self, target: ZigTarget, check: Callable[[], None] = never, *, gently: bool = True) -> WarmTarget:
        """Try a target: compile, link, look at what came out, and run it where anything can; then its cache is warm.

        ``gently`` is for beside builds, which come first. Raises MachineFault with the reason where it does not work,
        and what ``check`` raises.
        """
        known = self.warm(target)
        if known is not None:
            return known
        try:
            self._make(target, self._oldest(target), check, gently=gently)
        except _OnlyFrom as later:
            (self.place / f"oldest-{target.name}").write_text(later.version, encoding="ascii")
            self._make(target, later.version, check, gently=gently)
        found = self.warm(target)
        if found is None:
            raise MachineFault(f"what was made for {target.name} has gone from {self.place}")
        return found

    def lacks_debugged(self, target: ZigTarget) -> bool:
        """Return whether a target was tried, but not compiled as programs with debugging information have it."""
        found = self._record(self._oldest_of(target))
        return found is not None and not found.get("debugged")

    def add_debugged(self, target: ZigTarget, check: Callable[[], None] = never) -> None:
        """Add to the cache of a target the library for programs with debugging information.

        Raises MachineFault with the reason where it does not work, and what ``check`` raises.
        """
        words = self._oldest_of(target)
        try:
            bench = self._bench(f".{words}")
            try:
                shutil.copytree(self.place / words / "cache", bench / "cache", symlinks=True, dirs_exist_ok=True)
                made = bench / f"program{SUFFIXES.get(target.os, '')}"
                said = self._zig(made, words, DEBUGGED, check, gently=True)
                if not made.is_file():
                    raise MachineFault(f"zig makes no program with debugging information: {last_words(said)}")
                _finish(bench, {**(self._record(words) or {}), "debugged": True})
                with self._locks[words]:
                    _put(bench, self.place / words)
            finally:
                remove_tree(bench)
        except OSError as error:
            raise MachineFault(f"cannot warm zig's cache in {self.place}: {error.strerror or error}") from error

    def seed(self, tools: Mapping[str, str], home: Path, check: Callable[[], None] = never) -> float:
        """Copy what a build, whose home is ``home``, needs of the cache, if ``tools`` are this zig's.

        Return how many seconds a library took that was not there yet. Raises MachineFault, and what ``check`` raises.
        """
        words = shlex.split(tools.get("CC", ""))
        if words[:3] != [str(self.zig.path), "cc", "-target"] or len(words) < 4:  # noqa: PLR2004 - and the target
            return 0.0
        meant = self.zig.known.target(words[3])
        if meant is None:
            raise MachineFault(f"zig {self.zig.version} makes nothing for {words[3][:80]}")
        if not self.zig.is_the_same():  # what would be made says that it is made by the one that was there
            raise MachineFault(f"zig was replaced since this build server was started: restart it ({self.zig.path})")
        began = time.monotonic()
        name = meant[0].words(meant[1])
        new = self._record(name) is None
        if new:
            self._make(*meant, check, gently=False)
        waited = time.monotonic() - began if new else 0.0
        own = home / ".cache" / "zig"
        try:
            with self._locks[name]:
                os.utime(self.place / name)
                for part in SEEDED:
                    shutil.copytree(self.place / name / "cache" / part, own / part, symlinks=True)
                    check()
        except OSError as error:
            raise MachineFault(f"cannot copy zig's cache to {own}: {error.strerror or error}") from error
        return waited

    # --- making one -------------------------------------------------------------------------------------

    def _oldest(self, target: ZigTarget) -> str | None:
        if target.libc != "glibc":
            return None
        try:
            said = (self.place / f"oldest-{target.name}").read_text(encoding="ascii").strip()
        except OSError:
            return OLDEST
        return said if said in self.zig.known.glibc else OLDEST

    def _oldest_of(self, target: ZigTarget) -> str:
        return target.words(self._oldest(target))

    def _make(self, target: ZigTarget, version: str | None, check: Callable[[], None], *, gently: bool) -> None:
        words = target.words(version)
        with self._locks[words]:
            ways = self.runners(target)
            if self._tried_by(ways, words) is not None:
                return  # who came before has made it
            try:
                self._tried(target, version, ways, check, gently=gently)
                self._drop_oldest()
            except OSError as error:
                raise MachineFault(f"cannot warm zig's cache in {self.place}: {error.strerror or error}") from error

    def _tried(
        self, target: ZigTarget, version: str | None, ways: Ways, check: Callable[[], None], *, gently: bool
    ) -> None:
        words = target.words(version)
        bench = self._bench(f".{words}")
        known, there = self._record(words) or {}, self.place / words
        try:
            if known:  # only what runs programs here is another one, so nothing is compiled anew
                shutil.copytree(there / "cache", bench / "cache", symlinks=True, dirs_exist_ok=True)
            made = bench / f"program{SUFFIXES.get(target.os, '')}"
            said = self._zig(made, words, PLAIN, check, gently=gently)
            floor = self.zig.known.floor(said) if version == OLDEST and not made.is_file() else None
            if floor is not None:
                raise _OnlyFrom(floor)
            if not made.is_file():
                raise MachineFault(f"zig makes no program for {words}: {last_words(said)}")
            check_made(target, made)
            run, here = self._run(target, made, ways)
            _finish(bench, {**known, "run": run, "here": here, "ways": _listed(ways)})
            _put(bench, there)
        finally:
            remove_tree(bench)

    def _bench(self, name: str) -> Path:
        bench = self.place / name
        remove_tree(bench)
        (bench / "cache").mkdir(parents=True)
        (bench / "program.c").write_text(_SOURCE, encoding="ascii")
        return bench

    def _zig(self, made: Path, words: str, more: Sequence[str], check: Callable[[], None], *, gently: bool) -> str:
        """Run the compiler once, to make ``made``, and return what it said, however it ended."""
        bench = made.parent
        made.unlink(missing_ok=True)
        argv = [str(self.zig.path), "cc", "-target", words, STRIPPED, *more, "program.c", "-o", str(made)]
        nice = GENTLY if gently else self.nice()
        if nice and shutil.which("nice"):
            argv = ["nice", "-n", str(nice), *argv]
        cache = str(bench / "cache")
        environment = {
            "PATH": os.environ.get("PATH", os.defpath), "HOME": str(bench), "LC_ALL": "C",
            "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache,
        }  # fmt: skip
        log = bench / "said"
        with log.open("wb") as said:
            process = subprocess.Popen(
                argv, cwd=bench, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                start_new_session=True,
            )  # fmt: skip
            try:
                _await(process, check)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()
        with log.open("rb") as stream:
            text = stream.read(16 * 1024).decode(errors="replace")
        log.unlink()
        return text

    def _run(self, target: ZigTarget, made: Path, ways: Ways) -> tuple[list[str] | None, str | None]:
        home = self.place / f".home-{target.name}"  # or an emulator of a system makes one in the owner's
        for words in ways:
            home.mkdir(exist_ok=True)
            seed_wine({"RUN": shlex.join(words)}, home)
            said = output_of(["env", f"HOME={home}", *words, str(made)], time_limit=RUNS) or ""
            lines = [line.strip() for line in said.splitlines()]
            with suppress(OSError):  # what still ends may write there: it goes at the next start
                remove_tree(home)
            if SAID in lines:
                version = next((line for line in lines if line in self.zig.known.glibc), None)
                return list(words), version
        return None, None

    # --- keeping them -----------------------------------------------------------------------------------

    def _record(self, words: str) -> Mapping[str, object] | None:
        try:
            found = json.loads((self.place / words / "probe.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _tried_by(self, ways: Ways, words: str) -> Mapping[str, object] | None:
        """Return the record of what was tried by these ways to run programs."""
        found = self._record(words)
        return found if found is not None and found.get("ways") == _listed(ways) else None

    def _drop_oldest(self) -> None:
        """Remove what was used longest ago where there is too much, but no target's oldest, which is announced."""
        announced = {self._oldest_of(target) for target in self.zig.known.targets}
        there = [one for one in self.place.iterdir() if one.is_dir() and not one.name.startswith(".")]
        spare = sorted((one for one in there if one.name not in announced), key=lambda one: one.stat().st_mtime)
        for one in spare[: max(0, len(there) - KEPT)]:
            remove_tree(one)


class _OnlyFrom(MachineFault):
    """The oldest glibc of an architecture is a newer one than was tried, which is ``version``."""

    def __init__(self, version: str) -> None:
        super().__init__(f"there is no older glibc than {version}")
        self.version = version


def _finish(bench: Path, record: Mapping[str, object]) -> None:
    """Write what is known of a target, and remove what builds have no use for."""
    (bench / "probe.json").write_text(json.dumps(record), encoding="utf-8")
    for waste in bench.glob("program*"):
        waste.unlink()
    remove_tree(bench / "cache" / "z")  # of use only to compile the libraries again


def _listed(ways: Ways) -> list[list[str]]:
    return [list(one) for one in ways]


def _put(bench: Path, place: Path) -> None:
    """Put what was made at its place, instead of what is there."""
    if place.exists():
        place.rename(bench / "old")
    bench.rename(place)
    remove_tree(place / "old")


def _await(process: subprocess.Popen[bytes], check: Callable[[], None]) -> None:
    until = time.monotonic() + LONGEST
    while True:
        try:
            process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            check()
            if time.monotonic() > until:
                raise MachineFault(f"zig took longer than {LONGEST:g} s to compile a C library") from None
        else:
            return


def check_made(target: ZigTarget, made: Path) -> None:
    """Raise MachineFault where a program is not for the target."""
    with made.open("rb") as stream:
        found = targets_of(stream.read(HEAD))
    if not any((one.os, one.arch) == (target.os, target.arch) for one in found):
        words = ", ".join(one.words() for one in found) or "nothing known"
        raise MachineFault(f"zig makes programs for {words} where {target.name} was asked for")
