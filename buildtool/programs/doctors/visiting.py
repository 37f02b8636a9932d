"""What the doctors of all programs share: they look at the way to the metaserver, and report.

Each look is thin; what its result means is said by ``buildtool/model/checkup``.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from attrs import frozen
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime

from buildtool.adapters.control.client import greet
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.network.probes import name_facts, port_facts, skew_of
from buildtool.adapters.runtime.threads import Threads
from buildtool.adapters.tls.by_endpoint import authorities_in, believes_farm
from buildtool.adapters.tls.certificates import key_id, life_of
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.adapters.tls.pinning import chain_at
from buildtool.errors import BuildToolError, ConfigurationError, ProtocolMismatch, Unauthorised, Unavailable
from buildtool.model.access.metaserver_addresses import MetaserverAddress, Speech
from buildtool.model.checkup.connection import (
    ChainFacts,
    OwnFacts,
    judge_chain,
    judge_clock,
    judge_greeting,
    judge_name,
    judge_own,
    judge_ports,
)
from buildtool.model.checkup.machine import INSTALLERS, judge_disk
from buildtool.model.checkup.verdicts import CheckResult, CheckVerdict, as_lines, as_object, is_well, problem
from buildtool.ports.common import Executor
from buildtool.programs.common.ending import EXIT_FAILED, EXIT_OK, update_command, with_command
from buildtool.programs.common.joining import FarmEndpoint
from buildtool.programs.common.output import as_called, say
from buildtool.programs.common.reaching import reach
from buildtool.protocol.hello import PROTOCOL_VERSION

MIB = 1024 * 1024
THREADS = 2


@frozen
class Visit:
    """A way to a metaserver that is to be checked: its addresses, as what it is greeted, and where time is told.

    ``clock_port`` is a port of its host that speaks plain HTTP, asked where the control port is plain.
    """

    addresses: Sequence[MetaserverAddress]
    role: str
    clock_port: int


def report(results: Sequence[CheckResult], *, as_json: bool) -> int:
    """Print the verdicts, and return the exit code. Raises OutputLost, OutputUnread."""
    say(as_called(json.dumps(as_object(results)) if as_json else "\n".join(as_lines(results))))
    return EXIT_OK if is_well(results) else EXIT_FAILED


async def visit(reactor: ReactorBase, going: Visit, farm: FarmEndpoint | None) -> list[CheckResult]:
    """Return the verdicts on the way to each address of a metaserver, and on the key that this side has there."""
    with ExitStack() as closing:
        threads = Threads(reactor, THREADS, "doctor")
        closing.callback(threads.stop)
        return await _visited(reactor, going, farm, threads)


async def _visited(
    reactor: ReactorBase, going: Visit, farm: FarmEndpoint | None, threads: Executor
) -> list[CheckResult]:
    results: list[CheckResult] = []
    if farm is not None:
        farm.renews = False  # it looks, and changes nothing
        began, ends = life_of(farm.own.identified.certificate)
        results.append(judge_own(OwnFacts(farm.own.name, str(farm.store.directory), began, ends), time.time()))
    for one in going.addresses:
        results += await _visit_one(reactor, one, going, farm, threads)
    return results


async def _visit_one(
    reactor: ReactorBase, address: MetaserverAddress, going: Visit, farm: FarmEndpoint | None, threads: Executor
) -> list[CheckResult]:
    names = await threads.run(partial(name_facts, address.host))
    ports = [await threads.run(partial(port_facts, one, address.port)) for one in names.addresses]
    results = [judge_name(names), *judge_ports(ports)]
    if all(one.error for one in ports):
        return results
    speaks_tls = address.speech is Speech.TLS or (farm is not None and address.speech is Speech.AS_JOINED)
    if speaks_tls:
        results += await _look_at_tls(reactor, address, farm)
        if any(one.what == "TLS" and one.verdict is CheckVerdict.PROBLEM for one in results):
            return results
    clock_port = address.port if speaks_tls else going.clock_port
    skew = await threads.run(partial(skew_of, address.host, clock_port, tls=speaks_tls))
    results.append(judge_clock(skew))
    return [*results, await _greeted(reactor, address, going.role, farm)]


async def _look_at_tls(
    reactor: ReactorBase, address: MetaserverAddress, farm: FarmEndpoint | None
) -> list[CheckResult]:
    believed: tuple[str, ...] = ()
    try:
        if believes_farm(address):
            believed = tuple(map(key_id, authorities_in(Path(address.trust_roots))))
        elif farm is not None:
            believed = tuple(map(key_id, farm.own.believed))
        chain = await chain_at(machine_at(reactor, address.host, address.port), address.where, IReactorTime(reactor))
    except BuildToolError as error:
        return judge_chain(ChainFacts(address.where, error=str(error)), believed, time.time())
    began, ends = life_of(chain[0]) if chain else (0.0, 0.0)
    return judge_chain(ChainFacts(address.where, tuple(map(key_id, chain)), began, ends), believed, time.time())


async def _greeted(
    reactor: ReactorBase, address: MetaserverAddress, role: str, farm: FarmEndpoint | None
) -> CheckResult:
    try:
        there = reach(reactor, [address], farm)
        session = await greet(there.ways, there.where, role, IReactorTime(reactor))
    except ProtocolMismatch as error:
        return judge_greeting(address.where, "", str(error), _update(error))
    except Unauthorised as error:
        return judge_greeting(address.where, "", str(error), "ask the operator for a line, and join with it")
    except Unavailable as error:
        return judge_greeting(address.where, "", str(error), "mend what stands above, or say another --port")
    except BuildToolError as error:
        return judge_greeting(address.where, "", str(error), _mend(error))
    minor = session.theirs.minor
    session.close()
    await session.closed()
    return judge_greeting(address.where, f"protocol {PROTOCOL_VERSION}.{minor}", "", "")


def _mend(error: BuildToolError) -> str:
    """Return what mends that there was no greeting, for a reason that is no way's, version's or key's."""
    if isinstance(error, ConfigurationError):
        return "see that the file which the address names is there and can be read, or say another address"
    return "that is what the metaserver answered: its operator finds more in its log"


def _update(error: ProtocolMismatch) -> str:
    told = with_command(error)
    return "ask the operator to update it" if told is error else update_command()


def own_farm(reactor: ReactorBase, store: CredentialStore) -> tuple[FarmEndpoint | None, list[CheckResult]]:
    """Return the farm that was joined, if one was, or the verdict on why its key cannot be used."""
    try:
        own = store.load()
    except BuildToolError as error:
        return None, [problem("key", str(error), f"remove {store.directory}, and join again")]
    return (None if own is None else FarmEndpoint(reactor, store, own)), []


def disk_result(what: str, place: Path, low: int, need: int) -> CheckResult:
    """Return the verdict on the disk of a directory, or of the one in which it will be made; sizes are in bytes."""
    free = None
    for one in (place, *place.parents):
        try:
            free = shutil.disk_usage(one).free
        except OSError:
            continue
        break
    return judge_disk(what, str(place), free, low, need)


def families() -> tuple[str, ...]:
    """Return the families of systems whose installer this machine has."""
    return tuple(name for name, (program, _) in INSTALLERS.items() if shutil.which(program) is not None)
