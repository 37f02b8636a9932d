"""An owner's pause that goes on when the program starts anew in its place, as it does to take over a configuration."""

from __future__ import annotations

import os

from buildtool.model.guest.stance import PauseAsked

VARIABLE = "BUILDTOOL_PAUSED"
"""The variable of the environment that is handed over: a moment in seconds of wall time, or empty."""


def hand_over(pause: PauseAsked | None) -> None:
    """Put a pause where the next start of this program finds it."""
    if pause is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = "" if pause.until is None else repr(pause.until)


def handed_over() -> PauseAsked | None:
    """Take the pause that an earlier start handed over, None where there was none, or what is there is no moment."""
    said = os.environ.pop(VARIABLE, None)
    if said is None:
        return None
    try:
        return PauseAsked(float(said) if said else None)
    except ValueError:
        return None
