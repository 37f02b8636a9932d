"""How a keeper waits: for what is said to it, and for signals. Runs in keepers, by the standard library.

Tested by tests/adapters/processes/test_keepers.py.
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

GIVEN_BACK = {signal.SIGPIPE, signal.SIGXFSZ}
"""Signals that Python itself ignores, and that ``subprocess`` gives back to every child."""


def wake_on_signals() -> int:
    """Return a descriptor that becomes readable at each signal, above all when a child ended.

    What asks for an end is heard and not heeded: a service manager says TERM to everything at once, and then the build
    server must find its keepers alive. So is what the starter of the build server wished to be ignored: handlers,
    unlike ignored signals, are not passed on to the commands. Nor is what they have blocked.
    """
    wake, rung = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(rung, False)
    ignored = {signum for signum in signal.valid_signals() if signal.getsignal(signum) is signal.SIG_IGN}
    for signum in {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP} | (ignored - GIVEN_BACK):
        signal.signal(signum, _heard)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.set_wakeup_fd(rung, warn_on_full_buffer=False)
    return wake


def _heard(_signum: int, _frame: FrameType | None) -> None:
    pass


def ready(descriptors: list[int], wake: int, timeout: float | None) -> set[int]:
    """Wait for the first of ``descriptors``, for a signal, or for ``timeout`` seconds; return what is readable."""
    poller = select.poll()
    for descriptor in (*descriptors, wake):
        poller.register(descriptor, select.POLLIN)
    found = {descriptor for descriptor, _ in poller.poll(None if timeout is None else timeout * 1000)}
    if wake in found:
        try:
            while os.read(wake, 512):
                pass
        except BlockingIOError:
            pass
    return found
