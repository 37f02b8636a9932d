"""Verdicts on a machine: disk, open files, programs, and the packages that have those that are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import field, frozen

from buildtool.model.checkup.verdicts import CheckResult, fine, problem, warning
from buildtool.model.text import size_words

INSTALLERS: Mapping[str, tuple[str, str]] = {
    "debian": ("apt-get", "sudo apt-get install"),
    "fedora": ("dnf", "sudo dnf install"),
    "homebrew": ("brew", "brew install"),
}
"""By the name of a family of systems: the program that installs packages there, and the words that do."""


@frozen
class ToolFacts:
    """The tools that a project's recipe needs, those that are missing here, and the packages that have them.

    ``packages`` are by tool, then by the name of a family of systems. ``hidden`` are missing ones by the directory in
    which they are, but builds do not see them.
    """

    project: str
    needed: tuple[str, ...]
    missing: tuple[str, ...]
    packages: Mapping[str, Mapping[str, str]]
    hidden: Mapping[str, str] = field(factory=dict)


def judge_disk(what: str, place: str, free: int | None, low: int, need: int) -> CheckResult:
    """Return the verdict on ``free`` bytes of a disk: below ``need`` nothing goes on, below ``low`` not for long."""
    mend = f"make room there, or have {what} elsewhere"
    if free is None:
        return problem("disk", f"the disk of {place} cannot be looked at", f"name a directory that is there as {what}")
    if free < need:
        return problem("disk", f"{size_words(free)} are free in {place}, {size_words(need)} are needed", mend)
    if free < low:
        return warning("disk", f"only {size_words(free)} are free in {place}", mend)
    return fine("disk", f"{size_words(free)} are free in {place}")


def judge_open_files(soft: int, wanted: int) -> CheckResult:
    """Return the verdict on how many files and connections may be open at once; negative is any number."""
    if 0 <= soft < wanted:
        words = f"{soft} files and connections may be open at once, {wanted} are needed"
        return warning("open files", words, f"raise the limit (ulimit -n {wanted}; systemd: LimitNOFILE={wanted})")
    return fine("open files", f"{'any number' if soft < 0 else soft} may be open at once")


def judge_tools(found: Iterable[ToolFacts], families: Collection[str]) -> list[CheckResult]:
    """Return the verdict on the tools of each project; ``families`` are those whose installer this machine has."""
    results = []
    for one in found:
        if one.missing:
            absent = [tool for tool in one.missing if tool not in one.hidden]
            parts = [f"{', '.join(absent)}, not on this machine"] if absent else []
            parts += [f"{tool}, which builds do not see (it is in {place})" for tool, place in one.hidden.items()]
            words = f"{one.project} needs {'; '.join(parts)}"
            shown = [f"--readable {','.join(sorted(set(one.hidden.values())))}"] if one.hidden else []
            mends = [*shown, install_line([one], families) or "install them by hand"]
            results.append(problem("compilers", words, ", or ".join(mends)))
        else:
            results.append(fine("compilers", f"{one.project} finds {', '.join(one.needed) or 'all that it needs'}"))
    return results


def install_line(found: Sequence[ToolFacts], families: Collection[str]) -> str:
    """Return the one line that installs what projects lack here, with what no package is named for; "" for nothing."""
    missing: dict[str, Mapping[str, str]] = {}
    for one in found:
        for tool in one.missing:
            missing[tool] = {**one.packages.get(tool, {}), **missing.get(tool, {})}
    family = next((name for name in INSTALLERS if name in families), None)
    if not missing or family is None:
        return f"install {', '.join(sorted(missing))} by hand" if missing else ""
    packages = [packages[family].split() for packages in missing.values() if family in packages]
    words = sorted({word for some in packages for word in some})
    unnamed = sorted(tool for tool, packages in missing.items() if family not in packages)
    line = f"{INSTALLERS[family][1]} {' '.join(words)}" if words else ""
    by_hand = f"install {', '.join(unnamed)} by hand: the recipe names no package" if unnamed else ""
    return "; ".join(part for part in (line, by_hand) if part)
