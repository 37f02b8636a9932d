"""What a warm target of zig's is as a toolchain, and what may run its programs on this machine."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from buildtool.adapters.host.toolchains import EMULATED, Toolchain
from buildtool.adapters.host.wine import wines
from buildtool.adapters.host.zig.finding import ZigProgram
from buildtool.adapters.host.zig.targets import STATIC, ZigTarget
from buildtool.adapters.host.zig.warm_store import STRIPPED, WarmTarget
from buildtool.model.matching.ranges import LIBC_VERSION
from buildtool.model.platforms import TRIPLES, compare_versions
from buildtool.model.servers import OfferKind

AS_IT_IS = ("env",)
"""The words before a program that runs here by itself although it was made as for another machine."""


class RunTarget(Protocol):
    """A platform of programs, as far as it matters for running them."""

    @property
    def os(self) -> str: ...

    @property
    def arch(self) -> str: ...

    @property
    def libc(self) -> str | None: ...


@frozen
class Runners:
    """The ways to run programs on a machine of ``own_arch``, as far as they are in PATH, which ``search`` replaces.

    ``seen`` is asked whether builds may start what is there, which may be a link to where they see nothing.
    ``sysroots`` is where libraries of other architectures are, in directories that are called by their triples;
    ``wasi`` is a script of Python's that runs programs for WASI.
    """

    own_arch: str
    search: str | None = None
    sysroots: Path = Path("/usr")
    wasi: Path | None = None
    seen: Callable[[str], bool] = lambda _: True

    def __call__(self, target: RunTarget) -> Sequence[tuple[str, ...]]:
        """Return what may run programs of a target, what to try first before the others."""
        if target.os == "windows":
            return [words for words in wines(self.search) if self._which(words[-1])]
        if target.os == "wasi":
            return [*self._wasmtime()]
        if target.os != "linux":
            return []
        ways: list[tuple[str, ...]]
        ways = [AS_IT_IS] if target.arch == self.own_arch or (target.arch, self.own_arch) == ("i686", "x86_64") else []
        name = f"qemu-{EMULATED.get(target.arch, target.arch)}"
        emulator = next((one for one in (f"{name}-static", name) if self._which(one)), None)
        if emulator is not None:
            roots = [self.sysroots / triple for triple, arch in TRIPLES.items() if arch == target.arch]
            there = [root for root in roots if (root / "lib").is_dir()] if target.libc == "glibc" else []
            ways += [(emulator, "-L", str(root)) for root in there] or [(emulator,)]
        return ways

    def _which(self, program: str) -> str | None:
        there = shutil.which(program, path=self.search)
        return there if there is not None and self.seen(there) else None

    def _wasmtime(self) -> Iterator[tuple[str, ...]]:
        if self._which("wasmtime"):
            yield "wasmtime", "run", "--dir=."
        python = self._which("python3")
        if python is not None and self.wasi is not None and self.wasi.is_file():
            # Itself, and no link to it: where programs are hidden, PATH has directories that a sandbox does not show.
            yield str(Path(python).resolve()), "-I", str(self.wasi)


def toolchains_of(zig: ZigProgram, warm: WarmTarget) -> list[Toolchain]:
    """Return what a warm target is offered as: two where only programs for the older libraries run here."""
    target = warm.target
    words = target.words(LIBC_VERSION if target.libc == "glibc" else None)
    program = shlex.quote(str(zig.path))
    made_for = f"-target {words} {STRIPPED}"
    tools = {
        "CC": f"{program} cc {made_for}", "CXX": f"{program} c++ {made_for}", "AR": f"{program} ar",
        "RANLIB": f"{program} ranlib", "HOST": target.triple, "CC_VERSION": f"zig-{zig.version}",
        "STRIP": "true",
    }  # fmt: skip
    running = tools if warm.run is None else tools | {"RUN": shlex.join(warm.run)}
    if target.libc == "musl":
        return [_toolchain(target, STATIC, None, running)]
    if warm.oldest is None:
        return [_toolchain(target, None, None, running)]
    newest = zig.known.glibc[-1]
    limit = newest if warm.here is None or compare_versions(warm.here, newest) > 0 else warm.here
    beyond = zig.known.above(limit) if warm.run is not None else None
    if beyond is None:
        return [_toolchain(target, warm.oldest, newest, running)]
    return [_toolchain(target, warm.oldest, limit, running), _toolchain(target, beyond, newest, tools)]


def _toolchain(target: ZigTarget, version: str | None, newest: str | None, tools: dict[str, str]) -> Toolchain:
    return Toolchain(target.arch, OfferKind.CROSS, target.libc, version, tools, target.os, newest)
