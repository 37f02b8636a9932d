"""The operator's socket: who may open it, who it says that it was, and that nobody else is an operator."""

import os
import socket
import stat
from pathlib import Path

from attrs import AttrsInstance, define, field
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.trial.unittest import TestCase

from buildtool.adapters.control.client import Session, connect_requester, greet
from buildtool.adapters.control.operator_endpoint import (
    LONGEST,
    NAME,
    ControlPort,
    at_control_socket,
    connect_operator,
    listen_control,
    operator_factory,
)
from buildtool.errors import NotFound, NotRunning, StorageUnavailable, Unauthorised, Unavailable
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.calls import OPERATOR
from buildtool.protocol.operator import (
    AbortBuild,
    ActionResult,
    AskFarmStatus,
    Drain,
    FarmStatus,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    ServerStatus,
    WaitingBuildStatus,
)

STANDING = FarmStatus(
    1, 2, 3, 4, 5, 6, 7, True, ("the disk is full",), (ServerStatus("anna", "paused", "no disk", 0, 1),), (),
    (WaitingBuildStatus(9, "lua", "c" * 40, 2, 3.5, ("nobody has arch=ppc",)),),
)  # fmt: skip


@define
class FakeOperatorService:
    """Keeps what it was asked, and by whom; it knows a build server by the name of anna alone."""

    acts: list[tuple[object, Principal]] = field(factory=list)

    @property
    def handlers(self) -> Handlers:
        return {**dict.fromkeys(OPERATOR.values(), self.act), AskFarmStatus: self.standing}

    async def standing(self, _by: Principal, _message: AskFarmStatus) -> FarmStatus:
        return STANDING

    async def act(self, by: Principal, message: object) -> ActionResult:
        if isinstance(message, PauseServer) and message.server == "nobody":
            raise NotFound("there is no build server 'nobody'; known: anna")
        self.acts.append((message, by))
        return ActionResult((f"{type(message).__name__} done",))


ACTS: list[AttrsInstance] = [
    PauseServer("anna", "no disk"), ResumeServer("anna"), AbortBuild(7, "wrong"), RebuildBuild(7, "", "c" * 32),
    ForgetServer("anna"), ForgetFailure(7), PurgeArtifact("7", ""), PurgeBuiltBy("anna", ""), Drain(on=True),
]  # fmt: skip


class SocketTests(TestCase):
    """Over a real socket: who is there is the system's word."""

    timeout = 20

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True, mode=0o700)
        self.service = FakeOperatorService()

    def serve(self) -> ControlPort:
        factory = operator_factory(self.service.handlers, reactor)
        port = listen_control(reactor, self.directory, factory)  # type: ignore[arg-type]
        self.addCleanup(lambda: maybeDeferred(port.stopListening))
        self.addCleanup(factory.close, "the test is over")
        return port

    async def operator(self) -> Session:
        with at_control_socket(reactor, self.directory) as endpoint:  # type: ignore[arg-type]
            there = await connect_operator(endpoint, "here", reactor)
        self.addCleanup(there.close)
        return there

    async def test_each_act_arrives_with_the_user_whom_the_system_names(self) -> None:
        self.serve()
        there = await self.operator()
        assert await there.ask(AskFarmStatus(), FarmStatus) == STANDING
        for act in ACTS:
            assert (await there.ask(act, ActionResult)).words == (f"{type(act).__name__} done",)
        assert [message for message, _ in self.service.acts] == ACTS
        assert {by.role for _, by in self.service.acts} == {PrincipalRole.OPERATOR}
        assert {by.name.rpartition(" ")[2] for _, by in self.service.acts} == {f"{os.geteuid()})"}

    async def test_what_is_refused_arrives_as_the_error_that_it_was(self) -> None:
        self.serve()
        there = await self.operator()
        with self.assertRaisesRegex(NotFound, "known: anna"):
            await there.ask(PauseServer("nobody", ""), ActionResult)

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
        assert await (await self.operator()).ask(AskFarmStatus(), FarmStatus) == STANDING

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
        assert await (await self.operator()).ask(AskFarmStatus(), FarmStatus) == STANDING

    async def test_no_other_role_is_given_out_here(self) -> None:
        self.serve()
        with at_control_socket(reactor, self.directory) as endpoint:  # type: ignore[arg-type]
            for role in ("requester", "build server", ""):
                with self.assertRaises(Unauthorised):
                    await greet(endpoint, "here", role, reactor)
            with self.assertRaises(Unauthorised):
                await connect_requester(endpoint, "here", reactor)
