"""``make demo``: a request, a build, an artifact, a hit and a mail, with real processes on this machine."""

from __future__ import annotations

import argparse
import email
import email.policy
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from buildtool.entry.local_farm import FarmError, LocalFarm, import_sources, local_farm

FIRST = "first@example.org"
SECOND = "second@example.org"


def main() -> int:
    """Run the demo; return 0 only if every step was as promised."""
    parser = argparse.ArgumentParser(prog="demo", description="A request, a build, an artifact, a hit and a mail.")
    parser.add_argument("--directory", type=Path, help="where everything is kept (default: a new one below .demo)")
    asked_for = parser.parse_args().directory
    root = Path(__file__).resolve().parent.parent.parent
    config = root / "config.py"
    if not config.exists():
        print("make demo runs in a checkout, which has config.py and testproject/", file=sys.stderr)
        return 1
    directory = asked_for.resolve() if asked_for is not None else fresh_directory(root / ".demo")
    repository = directory / "testproject.git"
    try:
        with local_farm(directory, config, BUILDTOOL_TESTPROJECT_REPOSITORY=str(repository)) as farm:
            show(farm, root, repository)
    except FarmError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print(f"\nAll as promised. Everything lies in {directory}")
    return 0


def fresh_directory(parent: Path) -> Path:
    """Return a directory that no other demo has, however many run at once."""
    parent.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="run-", dir=parent))


def show(farm: LocalFarm, root: Path, repository: Path) -> None:
    """Go through the steps, saying what happens. Raises FarmError at the first that is not as promised."""
    commit = import_sources(root / "testproject" / "source", repository)
    step(f"testproject's sources are now a git repository of their own, commit {commit[:12]}")
    mail = farm.start_mail()
    step(f"a mail server receives on port {farm.mail_port}")
    farm.start_metaserver("--web")
    step(f"the metaserver runs; its pages are at {farm.public_url}")
    farm.start_build_server("demo")
    step("a build server on this machine has registered")

    step(f"bin/startcompile.py --utf8 --foreground {FIRST}")
    first = asked(farm, "--utf8", "--foreground", "--output", "first.zip", FIRST)
    must(first["answer"] == "dispatched", f"the first request was answered {first['answer']}, not dispatched")
    artifact = verified(farm.directory / "first.zip", first)
    say(f"built by {first['artifact']['server']}, {artifact.stat().st_size} bytes: {artifact}")
    say(f"SHA-256 {first['artifact']['digest']}")
    say("the program in it says: " + run_tally(artifact))

    step(f"bin/startcompile.py --utf8 {SECOND}")
    second = asked(farm, "--utf8", "--output", "second.zip", SECOND)
    must(second["answer"] == "hit", f"the second request was answered {second['answer']}, not hit")
    must(second["artifact"]["digest"] == first["artifact"]["digest"], "the second artifact is another one")
    verified(farm.directory / "second.zip", second)
    say(f"a hit, in {second['milliseconds']:.0f} ms")

    mail.wait_for(f"mail for {FIRST}")
    letter, subject = the_mail(farm.mailbox)
    step(f"the mail to {FIRST} has arrived: {subject}")
    say(f"it lies at {letter}")


def asked(farm: LocalFarm, *arguments: str) -> dict[str, Any]:
    """Run startcompile.py --json and return what it printed."""
    done = farm.request("--json", *arguments)
    if done.returncode:
        raise FarmError(f"startcompile.py ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    found = json.loads(done.stdout)
    if not isinstance(found, dict):
        raise FarmError(f"startcompile.py --json printed {done.stdout!r}")
    return found


def verified(path: Path, answer: dict[str, Any]) -> Path:
    """Return ``path`` once its bytes have the digest that was told."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    must(digest == answer["artifact"]["digest"], f"{path} has digest {digest}, not the one that was told")
    return path


def run_tally(artifact: Path) -> str:
    """Unpack the artifact, run the program in it, and return what it says of a line of UTF-8."""
    place = artifact.with_suffix("")
    with zipfile.ZipFile(artifact) as archive:
        archive.extractall(place)
    program = next(place.rglob("tally"), None)
    if program is None:
        raise FarmError(f"there is no program in {artifact}")
    program.chmod(0o755)
    said = subprocess.run(
        [program.resolve()], input="gr\u00fc\u00dfe aus der farm\n".encode(), capture_output=True, check=False
    )
    must(said.returncode == 0, f"the program in {artifact} does not run")
    return " / ".join(said.stdout.decode(errors="replace").split("\n")).strip(" /")


def the_mail(mailbox: Path) -> tuple[Path, str]:
    """Return the path and the subject of the one mail that there is to be."""
    letters = list((mailbox / "new").iterdir())
    must(len(letters) == 1, f"{len(letters)} mails have arrived, not one")
    message = email.message_from_bytes(letters[0].read_bytes(), policy=email.policy.default)
    return letters[0], str(message["Subject"])


def must(kept: bool, otherwise: str) -> None:  # noqa: FBT001 - a promise and what to say when it is broken
    """Raise FarmError unless a promise was kept."""
    if not kept:
        raise FarmError(otherwise)


_BEGAN = time.monotonic()


def step(words: str) -> None:
    """Say what happens now, with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN:5.1f} s] {words}", flush=True)


def say(words: str) -> None:
    """Say what came of it."""
    print(f"          {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
