"""A command's process as its watching thread sees it: how news of it comes, and how it and its own are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Protocol

from buildtool.adapters.processes.beginning.finding import found
from buildtool.adapters.processes.beginning.terminal import open_terminal, take_terminal
from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.process_group import ProcessGroup


class Child(Protocol):
    """One started command with all that it started."""

    @property
    def pid(self) -> int:
        """The id of the command's own process."""

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if one ended it, None while it runs."""

    @property
    def news(self) -> int | None:
        """A descriptor that becomes readable when ``hear`` is to be called; None when nothing will be told that way."""

    @property
    def lost(self) -> bool:
        """Whether it ended the sandbox that it ran in, and itself with that."""

    @property
    def screen(self) -> int | None:
        """The descriptor that its output comes from in place of the one that it was given, if it has a terminal."""

    @property
    def processor(self) -> float | None:
        """What it used of processors, in seconds, with all that it started; None where nothing tells.

        Ask once nothing of it is left, and before ``close``.
        """

    def hear(self) -> None:
        """Take note of what ``news`` tells."""

    def send(self, signum: signal.Signals) -> None:
        """Signal the command and all that it started, as far as it can be found. May be repeated."""

    def freeze(self) -> None:
        """Stop the command where it is, with all that it started, until ``thaw``. May be repeated."""

    def thaw(self) -> None:
        """Resume what was frozen."""

    def gone(self, *, thorough: bool) -> bool:
        """Return whether nothing is left; ask only after the command's own end. ``thorough`` may cost milliseconds."""

    def describe(self) -> str:
        """Return the names of what is left, for a message."""

    def close(self) -> None:
        """Close the descriptors."""


Spawn = Callable[[CommandLine, int, Callable[[], None]], Child]
"""Start a command whose output goes to a descriptor. What it returns calls the function given last, from any thread,
when there are news that no descriptor tells of. Raises OSError, ValueError or SubprocessError."""


class Direct:
    """A child of this very process, followed as far as its session (macOS, and wherever there are no keepers)."""

    lost = False

    def __init__(self, command: CommandLine, outlet: int, ring: Callable[[], None], *, use_pidfd: bool = True) -> None:
        named = {os.fsencode(name): os.fsencode(value) for name, value in command.environment.items()}
        self.screen: int | None = None
        # It is held, or the output would end where the command closes it for a while.
        self._terminal: int | None = None
        if command.terminal:
            self.screen, self._terminal = open_terminal()
        terminal = self._terminal
        try:
            self._process = subprocess.Popen(
                command.argv,
                executable=found(os.fsencode(command.argv[0]), os.fsencode(command.cwd), named),
                cwd=command.cwd,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=outlet if terminal is None else terminal,
                stderr=outlet if terminal is None else terminal,
                start_new_session=True,
                umask=command.umask,
                preexec_fn=None if terminal is None else take_terminal,  # noqa: PLW1509 - a call of the system alone
            )
        except BaseException:
            self._close_terminal()
            self._close_screen()
            raise
        self._group = ProcessGroup(self._process.pid)
        self._exit_fd = _exit_fd(self._process.pid) if use_pidfd else None
        self.processor: float | None = None
        if self._exit_fd is None:
            self._wait_in_thread(ring)

    def _wait_in_thread(self, ring: Callable[[], None]) -> None:
        def wait() -> None:
            self._reap()
            ring()

        threading.Thread(target=wait, name=f"wait {self._process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    @property
    def news(self) -> int | None:
        """The pidfd until the exit was heard of, where the system has them."""
        return self._exit_fd if self._process.returncode is None else None

    def hear(self) -> None:
        """Take the exit status."""
        self._reap()

    def _reap(self) -> None:
        """Wait for the process, as ``Popen.wait`` does, and take what it and all that it waited for has used."""
        try:
            _, status, used = os.wait4(self._process.pid, 0)
        except ChildProcessError:
            self._process.wait()  # somebody else has taken its status
            self._close_terminal()
            return
        self._close_terminal()
        self.processor = used.ru_utime + used.ru_stime
        self._process.returncode = os.waitstatus_to_exitcode(status)

    def send(self, signum: signal.Signals) -> None:
        """Signal its group and session."""
        self._group.send(signum)

    def freeze(self) -> None:
        """Stop its group and session."""
        self._group.freeze()

    def thaw(self) -> None:
        """Resume its group and session."""
        self._group.send(signal.SIGCONT)

    def gone(self, *, thorough: bool) -> bool:
        """Return whether its group is gone, and if ``thorough`` its session."""
        return self._group.gone(thorough=thorough)

    def describe(self) -> str:
        """Return the names of what is left of its session."""
        return self._group.describe()

    def close(self) -> None:
        """Close the pidfd, and the terminal."""
        self._close_terminal()
        self._close_screen()
        if self._exit_fd is not None:
            os.close(self._exit_fd)
            self._exit_fd = None

    def _close_terminal(self) -> None:
        terminal, self._terminal = self._terminal, None
        if terminal is not None:
            os.close(terminal)

    def _close_screen(self) -> None:
        if self.screen is not None:
            os.close(self.screen)
            self.screen = None


def _exit_fd(pid: int) -> int | None:
    """Return a descriptor that tells of the exit; None on an old kernel, or in a sandbox without the call."""
    try:
        return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return None
