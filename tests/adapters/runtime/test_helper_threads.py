"""Helpers are given to one at a time, kept for the next, and idle when they are given back."""

from threading import Event, current_thread

import pytest

from buildtool.adapters.runtime.threads import HelperPools


def test_threads_are_kept_for_the_next_and_nobody_shares_them() -> None:
    helpers = HelperPools(1)
    with helpers.help() as first, helpers.help() as second:
        one, other = first.submit(current_thread).result(), second.submit(current_thread).result()
    assert one is not other
    with helpers.help() as third:
        assert third.submit(current_thread).result() in {one, other}


def test_nothing_runs_on_after_whoever_was_helped_has_failed() -> None:
    helpers, begun, go, ended = HelperPools(1), Event(), Event(), Event()

    def work() -> None:
        begun.set()
        go.wait()
        ended.set()

    def fail() -> None:
        with helpers.help() as threads:
            threads.submit(work)
            begun.wait()
            go.set()
            raise ValueError("it failed")

    with pytest.raises(ValueError, match="it failed"):
        fail()
    assert ended.is_set()
