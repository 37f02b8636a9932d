"""The operator's socket: who may open it, who it says that it was, and that nobody else is an operator."""

import os
import socket
import stat
from pathlib import Path

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase

from buildtool.adapters.control_socket import LONGEST, NAME, ControlPort, at_control_socket, listen_control
from buildtool.adapters.pb_client import connect_requester, greet
from buildtool.adapters.pb_operator import Act, Operating, connect_operator, operator_factory
from buildtool.errors import NotFound, NotRunning, StorageUnavailable, Unauthorised, Unavailable
from buildtool.operator_protocol import (
    AbortBuild,
    Acted,
    Drain,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    ServerStands,
    Standing,
    WaitingTold,
)

STANDING = Standing(
    1, 2, 3, 4, 5, 6, 7, True, ("the disk is full",), (ServerStands("anna", "paused", "no disk", 0, 1),), (),
    (WaitingTold(9, "lua", "c" * 40, 2, 3.5, ("nobody has arch=ppc",)),),
)  # fmt: skip


@define
class FakeOperatorDesk:
    """``ports.OperatorDesk``: keeps what it was asked, and by whom."""

    acts: list[tuple[object, str]] = field(factory=list)

    async def standing(self) -> Standing:
        return STANDING

    async def pause(self, message: PauseServer, by: str) -> Acted:
        if message.server == "nobody":
            raise NotFound("there is no build server 'nobody'; known: anna")
        return self._done(message, by)

    async def resume(self, message: ResumeServer, by: str) -> Acted:
        return self._done(message, by)

    async def abort(self, message: AbortBuild, by: str) -> Acted:
        return self._done(message, by)

    async def rebuild(self, message: RebuildBuild, by: str) -> Acted:
        return self._done(message, by)

    async def forget_server(self, message: ForgetServer, by: str) -> Acted:
        return self._done(message, by)

    async def forget(self, message: ForgetFailure, by: str) -> Acted:
        return self._done(message, by)

    async def purge(self, message: PurgeArtifact, by: str) -> Acted:
        return self._done(message, by)

    async def purge_built_by(self, message: PurgeBuiltBy, by: str) -> Acted:
        return self._done(message, by)

    async def drain(self, message: Drain, by: str) -> Acted:
        return self._done(message, by)

    def _done(self, message: object, by: str) -> Acted:
        self.acts.append((message, by))
        return Acted((f"{type(message).__name__} done",))


ACTS: list[Act] = [
    PauseServer("anna", "no disk"), ResumeServer("anna"), AbortBuild(7, "wrong"), RebuildBuild(7, "", "c" * 32),
    ForgetServer("anna"), ForgetFailure(7), PurgeArtifact("7", ""), PurgeBuiltBy("anna", ""), Drain(on=True),
]  # fmt: skip


class SocketTests(TestCase):
    """Over a real socket: who is there is the system's word."""

    timeout = 20

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True, mode=0o700)
        self.desk = FakeOperatorDesk()

    def serve(self) -> ControlPort:
        factory = operator_factory(self.desk, reactor)
        port = listen_control(reactor, self.directory, factory)  # type: ignore[arg-type]
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.addCleanup(factory.close, "the test is over")
        return port

    async def operator(self) -> Operating:
        with at_control_socket(reactor, self.directory) as endpoint:  # type: ignore[arg-type]
            there = await connect_operator(endpoint, "here", reactor)
        self.addCleanup(there.close)
        return there

    async def test_each_act_arrives_with_the_user_whom_the_system_names(self) -> None:
        self.serve()
        there = await self.operator()
        assert await there.standing() == STANDING
        for act in ACTS:
            assert (await there.act(act)).words == (f"{type(act).__name__} done",)
        assert [message for message, _ in self.desk.acts] == ACTS
        assert {by.rpartition(" ")[2] for _, by in self.desk.acts} == {f"{os.geteuid()})"}

    async def test_what_is_refused_arrives_as_the_error_that_it_was(self) -> None:
        self.serve()
        there = await self.operator()
        with self.assertRaisesRegex(NotFound, "known: anna"):
            await there.act(PauseServer("nobody", ""))

    async def test_nobody_but_its_owner_can_open_the_socket(self) -> None:
        self.serve()
        status = (self.directory / NAME).stat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == 0o600

    async def test_a_socket_that_a_crash_left_is_replaced(self) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(os.path.relpath(self.directory / NAME))
        with self.assertRaises(Unavailable):
            await self.operator()
        self.serve()
        assert await (await self.operator()).standing() == STANDING

    async def test_what_is_no_socket_is_not_replaced(self) -> None:
        (self.directory / NAME).write_text("somebody's own")
        with self.assertRaises(StorageUnavailable):
            self.serve()
        with self.assertRaises(NotRunning):
            await self.operator()
        assert (self.directory / NAME).read_text() == "somebody's own"

    async def test_the_socket_is_gone_when_it_listens_no_more_although_somebody_deleted_it(self) -> None:
        port = self.serve()
        await maybeDeferred(port.stopListening)
        assert not (self.directory / NAME).exists()
        again = self.serve()
        (self.directory / NAME).unlink()
        await maybeDeferred(again.stopListening)

    async def test_a_state_directory_with_a_very_long_name_has_a_socket_too(self) -> None:
        self.directory /= "x" * (LONGEST + 20)
        self.directory.mkdir()
        self.serve()
        assert await (await self.operator()).standing() == STANDING

    async def test_no_other_role_is_given_out_here(self) -> None:
        self.serve()
        with at_control_socket(reactor, self.directory) as endpoint:  # type: ignore[arg-type]
            for role in ("requester", "build server", ""):
                with self.assertRaises(Unauthorised):
                    await greet(endpoint, "here", role, reactor)
            with self.assertRaises(Unauthorised):
                await connect_requester(endpoint, "here", reactor)
