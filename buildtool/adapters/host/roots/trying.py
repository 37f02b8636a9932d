"""Tries a root file system in the sandbox in which builds will run, and reads what its compiler makes.

Tested by tests/adapters/host/roots/test_trying.py.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from attrs import evolve

from buildtool.adapters.host.detectors import parse_os_release
from buildtool.adapters.host.roots.emulation import obstacle, runs_itself
from buildtool.adapters.host.roots.output import output_of
from buildtool.adapters.host.roots.store import SystemRoot
from buildtool.adapters.host.toolchains import QUESTION, SAID, TRIAL, last_words, parse_answer
from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.sandbox.bubblewrap import system_words
from buildtool.adapters.processes.sandbox.proving import bubblewrap_program
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.errors import ConfigurationError
from buildtool.model.binaries.recognition import HEAD, targets_of
from buildtool.model.servers import ROOT_PATH
from buildtool.ports.buildserver import SlotPlace

TIME_LIMIT = 180.0
"""Seconds that a trial has: an emulated compiler on a busy machine takes ten."""

_SLOT = 501
"""The slot of trials, which has an account of its own."""

_RUNS = 20.0
_SCRIPT = "gcc -O2 -o program program.c && ./program && gcc -E -P question.c"


def tried(root: SystemRoot, sandboxes: Sandboxes, place: Path) -> SystemRoot:
    """Return a root with what its compiler says of it, tried below ``place``. Blocks. Raises ConfigurationError."""
    with tempfile.TemporaryDirectory(prefix="trial-", dir=place) as top:
        tree = Path(top, "tree")
        slot = SlotPlace(Path(top, "home"), Path(top, "tmp"), Path(top, "output"))
        for directory in (tree, slot.home, slot.temporary):
            directory.mkdir()
        (tree / "program.c").write_text(TRIAL, encoding="ascii")
        (tree / "question.c").write_text(QUESTION, encoding="ascii")
        try:
            sandbox = sandboxes.make(_SLOT, tree, slot, root=root.files)
            try:
                environment = {"PATH": ROOT_PATH, "TMPDIR": str(slot.temporary)}
                script = CommandLine(("sh", "-c", _SCRIPT), tree, environment)
                _, said = output_of(sandbox.start, script, TIME_LIMIT)
            finally:
                sandbox.end()
            with (tree / "program").open("rb") as stream:
                targets = targets_of(stream.read(HEAD))
        except OSError as error:
            why = last_words(said) if isinstance(error, FileNotFoundError) else error.strerror or str(error)
            raise ConfigurationError(f"{root.name} does not build here: {why}") from error
        release = root.files / "usr/lib/os-release"
        named = parse_os_release(release.read_text(encoding="utf-8", errors="replace")) if release.exists() else None
    return _judged(root, said, [target.arch for target in targets], named or "")


def _judged(root: SystemRoot, said: str, arches: list[str | None], release: str) -> SystemRoot:
    answer = parse_answer(said)
    if SAID not in said or root.arch not in arches or not {"libc", "cc"} <= answer.keys():
        raise ConfigurationError(f"{root.name} does not build here: what its compiler makes does not run")
    libc, version = answer["libc"]
    return evolve(root, libc=libc, libc_version=version, compiler="-".join(answer["cc"]), os_release=release)


def why_not(root: SystemRoot, own: str) -> tuple[str, str]:
    """Return why programs of a root do not run on a machine of architecture ``own``, and the mend; "" where they do.

    One is run, in a sandbox that bubblewrap makes of it, so what is registered is not only there but works.
    """
    if not root.has("gcc"):
        return "its compiler is not there any more", "add-platform --refresh makes it anew"
    program = bubblewrap_program()
    if program is None:
        return "bubblewrap is not installed", "apt-get install bubblewrap"
    user = [] if os.geteuid() == 0 else ["--unshare-user"]
    words = [
        program,
        *user,
        "--unshare-pid",
        "--unshare-net",
        *system_words(root.files),
        "--proc",
        "/proc",
        "/bin/true",
    ]
    try:
        ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_RUNS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its programs do not run: {error}", ""
    if ended.returncode == 0:
        return "", ""
    if not runs_itself(own, root.arch) and (missing := obstacle(root.arch))[0]:
        return missing
    said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"its programs do not run: {said[-1][:200] if said else f'exit code {ended.returncode}'}", ""
