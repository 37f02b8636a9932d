"""Installs zig's compiler into a build directory, by version and digest. Everything here blocks.

Tested by tests/adapters/host/zig/test_installing.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from buildtool.adapters.host.zig.finding import installed_at
from buildtool.adapters.storage.trees import remove_tree
from buildtool.errors import ConfigurationError

PINNED = Path(__file__).with_name("pinned.txt")
"""What is installed, as pip reads it: each package with its version and the digests of its files."""

RUNNER = "run-wasi.py"
"""What runs programs for WASI, beside the package that does."""

_MARK = "made-from"


def pinned_versions() -> Mapping[str, str]:
    """Return the version of each package that is installed."""
    return dict(re.findall(r"^([a-z]{1,40})==([0-9.]{1,40}) ", PINNED.read_text(encoding="ascii"), re.MULTILINE))


def installed(build_dir: Path) -> bool:
    """Return whether what is pinned is there."""
    try:
        return (installed_at(build_dir) / _MARK).read_text(encoding="ascii") == _sign()
    except OSError:
        return False


def install(build_dir: Path, say: Callable[[str], None], pip: Sequence[str] = (sys.executable, "-m", "pip")) -> bool:
    """Install what is pinned, and ``say`` what is done; return False where it was there. Raises ConfigurationError.

    ``pip`` is how pip is called; what it says goes to standard error.
    """
    place = installed_at(build_dir)
    try:
        with _alone(place):
            if installed(build_dir):
                return False
            new = place.with_name(".zig-new")
            remove_tree(new)
            for package, version in pinned_versions().items():
                say(f"installing {package} {version}, by its digest")
                if not _installed_one(package, new, pip) and package == "ziglang":
                    raise ConfigurationError(
                        f"pip did not install ziglang {version}: what it said stands above; is there a network, and a "
                        "package for this machine?"
                    )
            shutil.copy(Path(__file__).with_name("run_wasi.py"), new / RUNNER)
            (new / _MARK).write_text(_sign(), encoding="ascii")
            old = place.with_name(".zig-old")
            remove_tree(old)
            if place.exists():
                place.rename(old)
            new.rename(place)
            remove_tree(old)
    except OSError as error:
        raise ConfigurationError(f"cannot install into {place}: {error.strerror or error}") from error
    return True


def _installed_one(package: str, target: Path, pip: Sequence[str]) -> bool:
    wanted = target.with_name(f".{package}.txt")
    entries = PINNED.read_text(encoding="ascii").replace(" \\\n", " ").splitlines()
    wanted.write_text(next(one for one in entries if one.startswith(f"{package}==")), encoding="ascii")
    words = [
        *pip, "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:",
        "--require-hashes", "--no-compile", "--target", str(target), "--upgrade", "-r", str(wanted),
    ]  # fmt: skip
    try:
        return subprocess.run(words, stdout=sys.stderr, check=False).returncode == 0
    finally:
        wanted.unlink()


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keep others from installing into a place meanwhile."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place.parent / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sign() -> str:
    runner = Path(__file__).with_name("run_wasi.py")
    return hashlib.sha256(PINNED.read_bytes() + runner.read_bytes()).hexdigest()
