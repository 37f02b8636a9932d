"""An origin, a mirror of it, and what the tests do to them."""

from collections.abc import Awaitable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar, cast

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase

from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.vcs.git_mirrors.mirrors import GitMirror
from buildtool.errors import BuildToolError
from tests.support.origins import Origin

T = TypeVar("T")


class Mirrored(TestCase):
    """An origin and a mirror directory."""

    timeout = 300

    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()
        self.origin = Origin(self.directory / "origin")
        self.url = self.origin.url
        self.threads = Threads(cast("IReactorFromThreads", reactor), 4, "git")
        self.addCleanup(self.threads.stop)
        self.mirror = self.restarted()

    def restarted(self) -> GitMirror:
        """The mirrors as a program sees them that has just started."""
        mirror = GitMirror(self.directory / "mirrors", self.threads)
        self.addCleanup(mirror.close)
        return mirror

    async def refusal(self, asked: Awaitable[object]) -> BuildToolError:
        try:
            found = await asked
        except BuildToolError as error:
            self.assertNotIn("\n", str(error))
            return error
        return self.fail(f"answered {found}")
