"""A small zig for tests: it says what it makes as zig does, keeps a cache, and has the system's compiler make programs.

They are static: what the system's compiler makes otherwise needs the system's own library, whatever was asked for.
Like zig it compiles what is not in its cache first, of which each library leaves a line in the file ``compiled``.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_SCRIPT = r"""#!/bin/sh
case "$1" in
version) echo 0.99.1; exit 0 ;;
targets) cat "$0.targets"; exit 0 ;;
cc) shift ;;
ar | ranlib) exec "$@" ;;
*) exit 1 ;;
esac
target="$2"
case "$target" in
riscv64-linux-gnu.2.17)
    echo "error: unable to provide libc for target \"$target\"" >&2
    echo "info: zig can provide libc for related target riscv64-linux.4.15.0-gnu.2.27" >&2
    exit 1 ;;
*-musl) echo "error: no luck with $target" >&2; exit 1 ;;
esac
shift 2
library="$ZIG_GLOBAL_CACHE_DIR/o/$target/libc.a"
if [ -z "$ZIG_GLOBAL_CACHE_DIR" ]; then library="$HOME/.cache/zig/o/$target/libc.a"; fi
if [ ! -f "$library" ]; then
    mkdir -p "${library%/*}" "${library%/o/*}/b" "${library%/o/*}/h" "${library%/o/*}/z"
    echo "the library of $target" > "$library"
    echo "$target" >> "$0.compiled"
fi
exec cc -static "$@"
"""
TARGETS = """\
.{
    .arch = .{ "x86_64" },
    .libc = .{
        "riscv64-linux-gnu",
        "x86_64-linux-gnu",
        "x86_64-linux-musl",
        "x86_64-netbsd-none",
        "x86_64-windows-gnu",
    },
    .glibc = .{ "2.2.6", "2.16.0", "2.17.0", "2.27.0", "2.28.0", "2.36.0", "2.44.0" },
    .cpus = .{},
}
"""


def small_zig(directory: Path) -> Path:
    """Make one in a directory, and return the program."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "zig"
    program.write_text(_SCRIPT, encoding="ascii")
    program.chmod(0o755)
    (directory / "zig.targets").write_text(TARGETS, encoding="ascii")
    return program


def compiled(program: Path) -> list[str]:
    """Return for which targets it has compiled a library, in turn."""
    try:
        return (program.parent / "zig.compiled").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def nice_given(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Put a ``nice`` in front of PATH, and return what tells with which numbers it was started since then."""
    directory.mkdir()
    log = directory / "log"
    (directory / "nice").write_text(f'#!/bin/sh\necho "$2" >> {log}\nshift 2\nexec "$@"\n', encoding="ascii")
    (directory / "nice").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return lambda: log.read_text("ascii").split() if log.exists() else []
