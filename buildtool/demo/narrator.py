"""What demos are made of: saying what happens, asking, and holding answers to what was promised."""

from __future__ import annotations

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from buildtool.demo.local_farm import BUILD_PATIENCE, FarmError, LocalFarm, Program

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout; an installed package has none of what demos need beside it."""

_BEGAN = time.monotonic()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def step(words: str) -> None:
    """Print what happens now, with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {words}", flush=True)


def say(words: str) -> None:
    """Print what came of it."""
    print(f"          {words}", flush=True)


def registered(program: Program) -> None:
    """Print that a build server has registered, and in which sandbox it builds."""
    step(f"the build server {program.name} has registered")
    say(program.said(r"builds run .*"))


def must(kept: bool, otherwise: str) -> None:  # noqa: FBT001 - a promise and what to say when it is broken
    """Raise FarmError unless a promise was kept."""
    if not kept:
        raise FarmError(otherwise)


def demonstrate(name: str, description: str, config: Path, show: Callable[[Path], None]) -> int:
    """Run a demo of the farm that ``config`` describes; return 0 only if everything that it ``show``s is as promised.

    Its directory is one that no other demo has, however many run at once, unless the command line names one.
    """
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--directory", type=Path, help="where everything is kept (default: a new one below .demo)")
    directory: Path | None = parser.parse_args().directory
    if not config.exists():
        print(f"make {name} runs in a checkout, which has {config.relative_to(ROOT)}", file=sys.stderr)
        return 1
    if directory is None:
        (ROOT / ".demo").mkdir(exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=ROOT / ".demo"))
    stop_at_signals()
    try:
        show(directory := directory.resolve())
    except KeyboardInterrupt:
        print(f"\nInterrupted, and stopped. What there is lies in {directory}", file=sys.stderr)
        return 130
    except FarmError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print(f"\nAll as promised. Everything lies in {directory}")
    return 0


def stop_at_signals() -> None:
    """Make the first signal that ends programs stop the farm in order, and ignore further ones meanwhile."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def asked(farm: LocalFarm, *arguments: str) -> dict[str, Any]:
    """Run startcompile.py --json and return what it printed. Raises FarmError."""
    done = farm.request("--json", *arguments, seconds=BUILD_PATIENCE)
    found = last_object(done)
    if done.returncode:
        why = found.get("error") or found.get("reason") or found.get("state")
        logs = farm.directory / "metaserver" / "logs"
        raise FarmError(f"startcompile.py ended with {done.returncode}: {why} (logs are in {logs})")
    return found


def last_object(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON object that startcompile.py printed last. Raises FarmError with what it said instead."""
    try:
        found = json.loads((done.stdout.splitlines() or [""])[-1])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        said = done.stderr.strip() or done.stdout.strip()
        raise FarmError(f"startcompile.py ended with {done.returncode} and printed no JSON object: {said}")
    return found


def verified(path: Path, answer: dict[str, Any]) -> Path:
    """Return ``path`` once its bytes have the digest that was told."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    must(digest == answer["artifact"]["digest"], f"{path} has digest {digest}, not the one that was told")
    return path


def program_in(artifact: Path, name: str) -> Path:
    """Unpack an artifact beside itself; return the absolute path of the program in it. Raises FarmError."""
    place = artifact.with_suffix("")
    with zipfile.ZipFile(artifact) as archive:
        archive.extractall(place)
    program = next((path for path in place.rglob(name) if path.is_file()), None)
    if program is None:
        raise FarmError(f"there is no program {name} in {artifact}")
    program.chmod(0o755)
    return program.resolve()


def output_of(words: Sequence[str | Path], text: str = "") -> str:
    """Return what a program says of ``text``. Raises FarmError when it does not run, or fails."""
    try:
        done = subprocess.run(words, input=text.encode(), capture_output=True, check=False)
    except OSError as error:
        raise FarmError(f"{words[0]} does not run: {error.strerror or error}") from error
    said = done.stderr.decode(errors="replace").strip()
    must(done.returncode == 0, f"{words[-1]} ended with {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")
