"""Which values a property can have at all, so that a slip of the finger is no build that waits for a week."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

from buildtool.errors import UsageError
from buildtool.model.options import written
from buildtool.model.platforms import ARCHES, LIBCS, Value
from buildtool.model.project_options import ProjectOptions

ENUMERATED: Mapping[str, Collection[Value]] = {
    "arch": tuple(ARCHES),
    "bits": tuple(sorted({arch.bits for arch in ARCHES.values()})),
    "libc": tuple(LIBCS),
}
"""What is known of the properties whose values are names, besides what build servers offer."""

COUNTED = (*ENUMERATED, "os", "byteorder", "os_release", "cc_version")
"""Of what else it is known which values build servers offer, so that what none does is said."""

SHOWN = 20
"""At most so many values are named in one message."""

TOOLS = (
    "ar", "autoconf", "automake", "awk", "bash", "bc", "bison", "bzip2", "c++", "cargo", "cc", "ccache", "clang",
    "clang++", "cmake", "curl", "diff", "doxygen", "file", "find", "flex", "g++", "gawk", "gcc", "gfortran", "git",
    "gmake", "go", "grep", "gzip", "java", "javac", "ld", "libtool", "m4", "make", "makeinfo", "meson", "nasm", "ninja",
    "node", "openssl", "patch", "perl", "pkg-config", "python3", "rsync", "ruby", "rustc", "sccache", "sed", "strip",
    "tar", "tclsh", "unzip", "wget", "xz", "yasm", "zip", "zstd",
)  # fmt: skip
"""The programs that every build server looks for, besides those that its projects name."""


_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,30}\Z")


def is_name(value: Value) -> bool:
    """Return whether a peer's value may be named to others: it is a number or a short word."""
    return isinstance(value, int) or (isinstance(value, str) and _NAME.match(value) is not None)


def nearest(name: str, known: Iterable[object]) -> str:
    """Return the end of a sentence that names what ``name`` comes nearest to, or else what there is."""
    words = [written(one) if isinstance(one, str | int | tuple) else str(one) for one in known]
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    if near:
        return f": did you mean {near[0]}?"
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"; there {'are' if len(words) > 1 else 'is'} {', '.join(words[:SHOWN])}{more}" if words else ""


def check_known(
    options: ProjectOptions,
    explicit: Mapping[str, Value],
    offered: Mapping[str, Collection[Value]],
    tools: Collection[str],
) -> None:
    """Raise UsageError for what was asked for by a name that nobody knows: neither this program nor any build server.

    ``offered`` are the values that build servers have offered, by property; ``tools`` all programs that they look for.
    What is known and offered by nobody yet may be waited for.
    """
    for name, value in explicit.items():
        item = options.property(name)
        flag = item.option.flag if item is not None else name
        if name in ENUMERATED and value not in ENUMERATED[name] and value not in offered.get(name, ()):
            had = ", ".join(sorted(written(one) for one in offered.get(name, ()))[:SHOWN])
            ever = f"build servers have offered {had}" if had else "no build server has come yet"
            said = written(value)
            raise UsageError(f"{flag}: {said} is not known{nearest(said, ENUMERATED[name])} ({ever})")
        if item is not None and item.detector == "tools" and isinstance(value, tuple):
            for tool in value:
                if tool not in tools:
                    near = nearest(tool, tools).partition(";")[0]
                    look = "build servers look for common programs and for what recipes name in machine={'tools': ...}"
                    raise UsageError(f"{flag}: no build server looks for {tool}{near or f'; {look}'}")
