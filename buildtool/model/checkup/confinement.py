"""Verdicts on what keeps builds from a machine that is lent: its sandbox, limits, and what is seen of PATH.

Tested by tests/model/checkup/test_confinement.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from buildtool.model.checkup.verdicts import CheckResult, fine, problem, warning
from buildtool.model.trust.evidence import SandboxLevel

ALONE = "give the build server an account of its own that owns nothing else, or a virtual machine"
"""What is left to do where there is no sandbox to have."""

_BOUNDS = frozenset({"memory", "pids"})


def judge_sandbox(level: SandboxLevel, least: SandboxLevel | None, notes: Sequence[str], mend: str) -> CheckResult:
    """Return the verdict on the sandbox of builds: ``least`` is what its owner wants, None for the best that there is.

    ``notes`` say why it is no better, and ``mend`` what is known to help.
    """
    why = "; ".join(notes)
    if least is SandboxLevel.NONE:
        return warning("sandbox", "builds run without one, since --sandbox none says so", f"leave that out, or {ALONE}")
    if level is SandboxLevel.STRICT:
        return fine("sandbox", "strict: all attempts to get out of it failed")
    if least is not None and level < least:
        lower = f"--sandbox {level.value} builds {'without' if level is SandboxLevel.NONE else 'in that'}"
        return problem(
            "sandbox", f"{level.value}, though {least.value} is wanted: {why}", f"{mend or ALONE}; or {lower}"
        )
    return warning("sandbox", f"{level.value}: {why}", mend or ALONE)


def judge_limits(words: str, groups: Collection[str], *, linux: bool, container: bool) -> CheckResult:
    """Return the verdict on what keeps builds within their limits: ``words`` say which, ``groups`` are controllers."""
    if set(groups) >= _BOUNDS:
        return fine("limits", words)
    if not linux:
        return warning("limits", words, f"this system has no control groups: {ALONE}")
    if container:
        return warning("limits", words, "start the container with control groups that are its own and may be written")
    return warning(
        "limits",
        words,
        "start it where control groups are its own: systemd-run --user --scope -p Delegate=yes bin/buildserver.py",
    )


def judge_path(left_out: Sequence[str]) -> CheckResult:
    """Return the verdict on PATH, of which a sandbox does not show the directories ``left_out``."""
    if not left_out:
        return fine("path", "builds see every directory of PATH")
    return fine(
        "path", f"builds do not see {', '.join(left_out)}: what they need of that, and what it needs, --readable names"
    )
