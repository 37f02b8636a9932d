"""Real git repositories to fetch from, for every kind of test: nobody's settings, one author, one time."""

import os
import subprocess
from pathlib import Path

_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "GIT_ALLOW_PROTOCOL": "file",
}


def git(directory: Path, *arguments: str) -> str:
    """Run git in a directory, and return what it printed. Raises CalledProcessError."""
    command = ["git", "-C", str(directory), *arguments]
    done = subprocess.run(command, env=_ENVIRONMENT, check=True, capture_output=True, text=True, errors="replace")
    return done.stdout.strip()


class Origin:
    """A repository with a work tree, which the tests write to and the adapters fetch from."""

    def __init__(self, path: Path, *, object_format: str = "sha1") -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main", f"--object-format={object_format}")

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def git(self, *arguments: str) -> str:
        return git(self.path, *arguments)

    def commit(self, name: str = "file", text: str | None = None) -> str:
        """Commit a file whose content is new, and return the commit's id."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text if text is not None else f"{name} {len(self.git('rev-list', '--all').split())}\n")
        return self.commit_all(f"change {name}")

    def commit_all(self, message: str) -> str:
        """Commit everything that was written or changed, and return the commit's id."""
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")
