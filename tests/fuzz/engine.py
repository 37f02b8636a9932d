"""What feeds a target: the corpus, the plain engine that mutates it, and atheris, which is led by the branches taken.

What is found is written to ``build/fuzz/TARGET/found-…``, and the report says how to see it again. Inputs that take
branches which none did before go to ``build/fuzz/TARGET/new``; ``--keep`` moves them into the corpus.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen

from tests.fuzz.mutation import Mutator
from tests.fuzz.target import CORPUS, LARGEST, Target

ROOT = Path(__file__).resolve().parent.parent.parent
MADE = ROOT / "build" / "fuzz"

MOST_MIB = 2_048
"""Memory of a process that feeds a target; what takes more was found."""

SLOWEST = 10
"""Seconds for one input; what takes longer was found."""

_RUNS = re.compile(r"^(?:Done |#)(\d+)", re.MULTILINE)


@frozen
class Report:
    """What came of feeding a target: how many inputs, and what was found, in words, with the input."""

    target: str
    inputs: int
    found: str = ""
    data: bytes = field(default=b"", repr=False)

    @property
    def line(self) -> str:
        """The report for people."""
        return f"{self.target}: {self.inputs} inputs, {self.found or 'nothing found'}"


def guided_is_there() -> bool:
    """Return whether atheris is installed: it has no wheel for every Python and machine."""
    return importlib.util.find_spec("atheris") is not None


def replay(target: Target) -> Report:
    """Feed everything that is kept."""
    corpus = target.corpus()
    for number, data in enumerate(corpus, 1):
        found = tried(target, data)
        if found:
            return Report(target.name, number, found, data)
    return Report(target.name, len(corpus))


def mutate(
    target: Target, seconds: float, seed: int, *, most: int = sys.maxsize, clock: Callable[[], float] = time.monotonic
) -> Report:
    """Feed what the plain engine draws from ``seed``, for so many seconds or inputs."""
    mutator = Mutator(target.corpus(), target.words, target.longest, random.Random(seed))
    until, inputs = clock() + seconds, 0
    while inputs < most and clock() < until:
        data = mutator.next()
        inputs += 1
        found = tried(target, data)
        if found:
            return Report(target.name, inputs, found, data)
    return Report(target.name, inputs)


def tried(target: Target, data: bytes) -> str:
    """Return what is wrong with what a target does with an input, "" for nothing."""
    began = time.process_time()
    try:
        target.feed(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it was found
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
    took = time.process_time() - began
    return f"it takes {took:.1f} s" if took > SLOWEST else ""


def guided(target: Target, seconds: float, module: str = "") -> Report:
    """Feed what atheris draws, in a process of its own. Its inputs go on from the corpus and what it found before.

    ``module`` has the target where that is not in the table, with a colon.
    """
    place = MADE / target.name
    (place / "new").mkdir(parents=True, exist_ok=True)
    words = place / "words"
    words.write_text("# what inputs are made of\n" + "".join(f'"{_escaped(word)}"\n' for word in target.words if word))
    command = [
        sys.executable, "-m", "tests.fuzz.guided", f"{module}{target.name}",
        f"-max_total_time={max(1, round(seconds))}",
        f"-artifact_prefix={place}/found-", f"-dict={words}", f"-max_len={min(target.longest, LARGEST)}",
        f"-rss_limit_mb={MOST_MIB}", f"-timeout={SLOWEST}", "-print_final_stats=0", "-verbosity=1",
        str(place / "new"), str(CORPUS / target.name),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, timeout=seconds + 300
    )
    inputs = max((int(number) for number in _RUNS.findall(done.stderr)), default=0)
    if not done.returncode:
        return Report(target.name, inputs)
    said = done.stdout + done.stderr
    kept = re.search(r"Test unit written to (\S+)", said)
    data = Path(kept[1]).read_bytes() if kept else b""
    return Report(target.name, inputs, _reason(said), data)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _reason(said: str) -> str:
    """Return what atheris, or libFuzzer below it, says is wrong."""
    error = re.search(r"=== Uncaught Python exception: ===\n(.+)", said) or re.search(r"ERROR: libFuzzer: (.+)", said)
    return error[1].strip() if error else f"it ended: {said.strip()[-600:]}"


def keep(target: Target) -> int:
    """Move new inputs into the corpus, as few and as short as take the same branches; return how many there are."""
    place, corpus = MADE / target.name, CORPUS / target.name
    fresh = place / "merged"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, "-merge=1", str(fresh)]
    subprocess.run([*command, str(corpus), str(place / "new")], cwd=ROOT, capture_output=True, check=True)
    for path in fresh.iterdir():
        write(corpus, path.read_bytes())
    return len(list(corpus.iterdir()))


def write(directory: Path, data: bytes, prefix: str = "") -> Path:
    """Write an input under its digest; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{prefix}{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path
