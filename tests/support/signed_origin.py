"""A repository whose commits are signed by keys that were made for a test, with the real ssh-keygen."""

import subprocess
from pathlib import Path

from tests.support.origins import Origin
from tests.support.packages import require


def make_key(path: Path, kind: str = "ed25519") -> Path:
    """Make a key without a password at ``path``, and return the file of its public half."""
    words = [require("ssh-keygen", "openssh-client"), "-q", "-t", kind, "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return path.with_name(f"{path.name}.pub")


class SignedOrigin(Origin):
    """An origin; what ``push`` commits is signed by a key, or by none."""

    def push(self, key: Path | None, **files: str | None) -> str:
        """Commit files (None deletes one; ``__`` in a name is a dot), and return the commit's id."""
        for name, text in files.items():
            path = self.path / name.replace("__", ".")
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self.git("add", "--all")
        return self.signed(key, "commit", "-q", "--allow-empty", "-m", f"change {', '.join(files) or 'nothing'}")

    def signed(self, key: Path | None, *words: str) -> str:
        """Run what makes a commit, which is signed by ``key``, and return the commit's id."""
        settings = [] if key is None else ["-c", "gpg.format=ssh", "-c", f"user.signingKey={key}"]
        self.git(*settings, "-c", f"commit.gpgSign={str(key is not None).lower()}", *words)
        return self.git("rev-parse", "HEAD")
