"""A pause that an owner asked for goes on when the program starts anew."""

import os

import pytest

from buildtool.model.guest.stance import PauseAsked
from buildtool.programs.buildserver.guest.handed_pause import VARIABLE, hand_over, handed_over


@pytest.mark.parametrize("pause", [None, PauseAsked(None), PauseAsked(1_800_000_000.25)])
def test_what_is_handed_over_is_found_once(monkeypatch: pytest.MonkeyPatch, pause: PauseAsked | None) -> None:
    monkeypatch.setenv(VARIABLE, "of an earlier one")
    hand_over(pause)
    assert handed_over() == pause
    assert handed_over() is None
    assert VARIABLE not in os.environ


def test_what_is_no_moment_is_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "soon")
    assert handed_over() is None
