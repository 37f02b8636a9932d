"""Real Subversion repositories, and svnserve on a free port of loopback."""

import os
import re
import select
import signal
import socket
import subprocess
from pathlib import Path

from tests.support.packages import require

_ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


class SvnOrigin:
    """A repository, written to through one working copy of all of it; paths begin at the repository's root."""

    def __init__(self, directory: Path) -> None:
        require("svn", "subversion")
        self.directory = directory
        self.repository = directory / "repository"
        self._copy = directory / "writing"
        self._changes = 0
        directory.mkdir(parents=True)
        self._run("svnadmin", "create", str(self.repository))
        self._run("svn", "checkout", "-q", self.root_url, str(self._copy))

    @property
    def root_url(self) -> str:
        """The repository as svn itself calls it."""
        return f"file://{self.repository}"

    def url(self, path: str = "trunk") -> str:
        """The URL that a project's ``path_to_url`` gives for a path."""
        return f"svn+file://{self.repository}/{path}"

    def svn(self, *arguments: str) -> str:
        """Run svn in the working copy."""
        return self._run("svn", *arguments, cwd=self._copy)

    def write(self, name: str, text: str | None = None) -> Path:
        """Write a file, without committing it."""
        self._changes += 1
        target = self._copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text if text is not None else f"{name}, change {self._changes}\n")
        return target

    def commit(self, name: str = "trunk/file", text: str | None = None) -> str:
        """Commit a file whose content is new, and return the revision's full id."""
        self.write(name, text)
        return self.commit_all()

    def commit_all(self) -> str:
        """Commit everything that was written or changed, and return the revision's full id."""
        self.svn("add", "-q", "--force", "--no-ignore", ".")
        said = self.svn("commit", "-m", "a change")
        self.svn("update", "-q")
        return self._committed(said)

    def copy(self, source: str, target: str) -> str:
        """Copy a path in the repository, and return the revision's full id."""
        return self._act("copy", "--parents", "-m", "a copy", f"{self.root_url}/{source}", f"{self.root_url}/{target}")

    def move(self, source: str, target: str) -> str:
        """Move a path in the repository, and return the revision's full id."""
        return self._act("move", "-m", "a move", f"{self.root_url}/{source}", f"{self.root_url}/{target}")

    def delete(self, path: str) -> str:
        """Delete a path in the repository, and return the revision's full id."""
        return self._act("delete", "-m", "gone", f"{self.root_url}/{path}")

    def serve(self) -> "Served":
        """Start svnserve for this repository; whoever knows the password may read."""
        (self.repository / "conf" / "svnserve.conf").write_text(
            "[general]\nanon-access = read\nauth-access = write\npassword-db = passwd\n"
        )
        (self.repository / "conf" / "passwd").write_text("[users]\njoe = pa/ss word\n")
        return Served(self.repository)

    def refuse_strangers(self) -> None:
        """Let svnserve ask everybody for a password."""
        conf = self.repository / "conf" / "svnserve.conf"
        conf.write_text(conf.read_text().replace("anon-access = read", "anon-access = none"))

    def _act(self, *arguments: str) -> str:
        said = self.svn(*arguments)
        self.svn("update", "-q")
        return self._committed(said)

    @staticmethod
    def _committed(said: str) -> str:
        found = re.search(r"Committed revision ([0-9]+)\.", said)
        assert found, said
        return f"r{found[1]}"

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> str:
        words = [program, *arguments]
        if program == "svn":
            words += ["--non-interactive", f"--config-dir={self.directory / 'writer'}"]
        done = subprocess.run(words, cwd=cwd, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


class Served:
    """A running svnserve. ``stop`` ends it."""

    def __init__(self, repository: Path) -> None:
        program = require("svnserve", "subversion")
        # svnserve takes a socket as its standard input with --inetd only, so it has to be told a port that is free.
        for _ in range(5):
            self.port = _free_port()
            words = [program, "--daemon", "--foreground", "--listen-host=127.0.0.1", f"--listen-port={self.port}"]
            self._process = subprocess.Popen([*words, f"--root={repository}"], env=_ENVIRONMENT)
            if self._listening():
                return
            self.stop()
        raise AssertionError("svnserve did not start")

    def url(self, path: str = "trunk", user: str = "") -> str:
        return f"svn://{user}127.0.0.1:{self.port}/{path}"

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def _listening(self) -> bool:
        """Wait until it greets, as a server of the protocol does, or has ended."""
        while self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as peer:
                    ready, _, _ = select.select([peer], [], [], 5)
                    return bool(ready) and peer.recv(2) == b"( "
            except ConnectionRefusedError:
                continue
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
