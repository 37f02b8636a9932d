"""What an end-to-end test has in hand: a farm of real processes, a repository, a mailbox, and the builds' own will."""

import email
import email.policy
import json
import os
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from attrs import define, field

from buildtool.demo.local_farm import LocalFarm, Program
from tests.support import warm_starts
from tests.support.building import narrow_path
from tests.support.origins import Origin

CONFIG = Path(__file__).resolve().parent / "config.py"

BUILD = """\
set -e
echo "building on $SERVER"
if test -e "$CONTROL/broken-$SERVER"; then echo "THIS MACHINE IS BROKEN"; exit 1; fi
if test -p "$CONTROL/gate-$SERVER"; then echo "waiting at the gate"; cat "$CONTROL/gate-$SERVER" >/dev/null; fi
gcc -o program -DGREETING=\\"$1\\" -DLOUD=$LOUD main.c
./program
"""


@define
class Control:
    """One test's farm. ``repository`` is a git repository with a few revisions on ``main``."""

    directory: Path
    farm: LocalFarm = field(init=False)
    origin: Origin = field(init=False)
    commits: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        (self.directory / "control").mkdir(parents=True)
        self.origin = Origin(self.repository)
        self.farm = LocalFarm(
            self.directory / "farm",
            CONFIG,
            {
                "E2E_CONTROL": str(self.directory / "control"),
                "E2E_REPOSITORY": str(self.repository),
                "PATH": narrow_path(),
            },
            popen=warm_starts.begin,
        )
        self.commit(**{"build.sh": BUILD, "main.c": self.source("first")})

    @property
    def repository(self) -> Path:
        return self.directory / "greeter.git"

    # --- the project -------------------------------------------------------------------------------------

    @staticmethod
    def source(words: str) -> str:
        """A main.c that says the greeting and ``words``."""
        return f'#include <stdio.h>\nint main(void) {{ puts(GREETING " {words}"); return LOUD > 1; }}\n'

    def commit(self, **files: str) -> str:
        """Commit files to the branch and return the commit's id."""
        for name, text in files.items():
            (self.repository / name).write_text(text)
        self.commits.append(self.origin.commit_all(f"revision {len(self.commits)}"))
        return self.commits[-1]

    def git(self, *words: str) -> str:
        """Run git in the repository."""
        return self.origin.git(*words)

    # --- the machines' own will ----------------------------------------------------------------------------

    def control(self, name: str) -> Path:
        """A file that config.py or build.sh looks at."""
        return self.directory / "control" / name

    def close_gate(self, server: str) -> None:
        """Make builds on a server wait until ``open_gate``."""
        os.mkfifo(self.control(f"gate-{server}"))

    def open_gate(self, server: str) -> None:
        """Let the build that waits on a server, or the next to come, go on; later ones do not wait."""
        gate = self.control(f"gate-{server}")
        with gate.open("w"):
            gate.unlink()

    def server(self, name: str, *arguments: str) -> Program:
        """Start a build server; unless a test says otherwise its builds are steered by files that a sandbox hides."""
        level = [] if "--sandbox" in arguments else ["--sandbox", "none"]
        return self.farm.start_build_server(name, *level, *arguments, E2E_SERVER=name)

    # --- requests ------------------------------------------------------------------------------------------

    def ask(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run startcompile.py --json, which must end with ``code``, and return what it printed."""
        done = self.farm.request("--json", *arguments)
        assert done.returncode == code, f"{done.returncode} instead of {code}: {done.stderr}{done.stdout}"
        found = json.loads(done.stdout.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def refused(self, *arguments: str, code: int) -> str:
        """Run startcompile.py, which must end with ``code`` and one line on stderr; return that line."""
        done = self.farm.request(*arguments)
        assert done.returncode == code, f"{done.returncode} instead of {code}: {done.stderr}{done.stdout}"
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert "Traceback" not in done.stdout
        return lines[0]

    # --- mail ----------------------------------------------------------------------------------------------

    def mails(self) -> list[EmailMessage]:
        """Every mail that has arrived."""
        new = self.farm.mailbox / "new"
        return [
            email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            for path in (sorted(new.iterdir()) if new.exists() else [])
        ]

    def mail_to(self, address: str) -> EmailMessage:
        """The one mail that arrived for ``address``."""
        (found,) = [mail for mail in self.mails() if mail["Delivered-To"] == address]
        return found
