"""``make demo``: a request, a build, an artifact, a hit and a mail, with real processes on this machine."""

from __future__ import annotations

import email
import email.policy
import sys
from pathlib import Path

from buildtool.demo.local_farm import LocalFarm, import_sources, local_farm
from buildtool.demo.narrator import (
    ROOT,
    asked,
    demonstrate,
    must,
    output_of,
    program_in,
    registered,
    say,
    step,
    verified,
)

FIRST = "first@example.org"
SECOND = "second@example.org"


def main() -> int:
    """Run the demo; return 0 only if every step was as promised."""
    return demonstrate("demo", "A request, a build, an artifact, a hit and a mail.", ROOT / "config.py", _show)


def _show(directory: Path) -> None:
    repository = directory / "testproject.git"
    with local_farm(directory, ROOT / "config.py", BUILDTOOL_TESTPROJECT_REPOSITORY=str(repository)) as farm:
        show(farm, repository)


def show(farm: LocalFarm, repository: Path) -> None:
    """Perform the steps, and print what happens. Raises FarmError at the first that is not as promised."""
    commit = import_sources(ROOT / "testproject" / "source", repository)
    step(f"testproject's sources are now a git repository of their own, commit {commit[:12]}")
    mail = farm.start_mail()
    step(f"a mail server receives on port {farm.mail_port}")
    farm.start_metaserver("--web")
    step(f"the metaserver runs; its pages are at {farm.public_url}")
    registered(farm.start_build_server("demo"))

    step(f"bin/startcompile.py --utf8 --foreground {FIRST}")
    first = asked(farm, "--utf8", "--foreground", "--output", "first.zip", FIRST)
    must(first["answer"] == "dispatched", f"the first request was answered {first['answer']}, not dispatched")
    artifact = verified(farm.directory / "first.zip", first)
    say(f"built by {first['artifact']['server']}, {artifact.stat().st_size} bytes: {artifact}")
    say(f"SHA-256 {first['artifact']['digest']}")
    said = output_of([program_in(artifact, "tally")], "gr\u00fc\u00dfe aus der farm\n")
    say("the program in it says: " + " / ".join(said.split("\n")).strip(" /"))

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


def the_mail(mailbox: Path) -> tuple[Path, str]:
    """Return the path and the subject of the one mail that there is to be."""
    letters = list((mailbox / "new").iterdir())
    must(len(letters) == 1, f"{len(letters)} mails have arrived, not one")
    message = email.message_from_bytes(letters[0].read_bytes(), policy=email.policy.default)
    return letters[0], str(message["Subject"])


if __name__ == "__main__":
    sys.exit(main())
