"""Verdicts on the way to a metaserver: names, ports, TLS, keys, clocks and versions."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from buildtool.model.checkup.verdicts import CheckResult, fine, problem, warning
from buildtool.model.text import duration_words, moment_words

SKEW = 60.0
"""Seconds by which two clocks may differ without a word: certificates begin five minutes before they are made."""

SKEW_HARMS = 240.0
"""Seconds by which they may differ before a certificate that was just made is refused."""

SOON = 1 / 6
"""The part of its life that a certificate may have left without a word: it renews itself when a third is left."""


@frozen
class NameFacts:
    """The addresses that a host's name has here; ``error`` says why there are none."""

    host: str
    addresses: tuple[str, ...] = ()
    error: str = ""


@frozen
class PortFacts:
    """The try to connect to a port of one address; ``error`` is "" where it went well. ``refused``: nothing listens."""

    address: str
    port: int
    error: str = ""
    refused: bool = False


@frozen
class ChainFacts:
    """The certificates that a port shows, by the ``key_id`` of each, and the life of the first, in wall time.

    ``error`` says why none was shown.
    """

    where: str
    keys: tuple[str, ...] = ()
    begins: float = 0.0
    ends: float = 0.0
    error: str = ""


@frozen
class OwnFacts:
    """The own certificate: the name it is for, where it lies, and its life, in wall time."""

    name: str
    place: str
    begins: float
    ends: float


def judge_name(found: NameFacts) -> CheckResult:
    """Return the verdict on a host's name."""
    if found.addresses:
        return fine("name", f"{found.host} is {', '.join(found.addresses)}")
    mend = "check the name, and the resolver of this machine (/etc/resolv.conf)"
    return problem("name", f"{found.host} has no address here ({found.error})", mend)


def judge_ports(found: Sequence[PortFacts]) -> list[CheckResult]:
    """Return the verdicts on a port of each address of a host; one that answers is enough."""
    answers = any(not one.error for one in found)
    return [_port(one, one_answers=answers) for one in found]


def _port(found: PortFacts, *, one_answers: bool) -> CheckResult:
    where = f"{f'[{found.address}]' if ':' in found.address else found.address}:{found.port}"
    if not found.error:
        return fine("port", f"{where} takes connections")
    if found.refused:
        words, mend = (
            f"nothing listens at {where}",
            "ask the farm's operator whether bin/metaserver runs there, or say another port",
        )
    else:
        words = f"{where} takes no connection ({found.error})"
        mend = "ask for that port to be opened in the firewalls in between, or have the metaserver listen on 443"
    return warning("port", f"{words}, another address does", mend) if one_answers else problem("port", words, mend)


def judge_chain(found: ChainFacts, believed: Sequence[str], now: float) -> list[CheckResult]:
    """Return the verdicts on what a metaserver shows; ``believed`` are the keys of the farm that was joined, if any.

    ``now`` is wall time.
    """
    if found.error:
        mend = "is that the control port of a metaserver that asks for keys? One that trusts is reached without TLS"
        return [problem("TLS", f"{found.where} makes no TLS connection ({found.error})", mend)]
    results = [fine("TLS", f"{found.where} shows a chain of {len(found.keys)} certificates")]
    known = [key for key in found.keys if key in believed]
    shown = found.keys[-1][:16] if found.keys else "none"
    if known:
        results.append(fine("fingerprint", f"{known[0][:16]}… is the key of the farm that was joined"))
    elif believed:
        mend = "somebody may listen in between, or the farm was made anew: ask the operator, then join again"
        results.append(problem("fingerprint", f"{shown}… is not the key of the farm that was joined", mend))
    else:
        results.append(
            fine("fingerprint", f"{shown}… is the key of its authority; nothing was joined to compare it with")
        )
    return [
        *results,
        judge_life("its certificate", found.begins, found.ends, now, "ask the operator: it renews itself"),
    ]


def judge_own(found: OwnFacts, now: float) -> CheckResult:
    """Return the verdict on the own certificate; ``now`` is wall time."""
    mend = "start the program: it renews its certificate; after 400 days join again"
    return judge_life(f"the certificate of {found.name} in {found.place}", found.begins, found.ends, now, mend)


def judge_life(whose: str, begins: float, ends: float, now: float, mend: str) -> CheckResult:
    """Return the verdict on the life of a certificate; times are wall time, in seconds."""
    what = "certificate"
    if now < begins:
        return problem(what, f"{whose} holds from {moment_words(begins)} on only", "set the clock of this machine")
    if now >= ends:
        return problem(what, f"{whose} has expired at {moment_words(ends)}", mend)
    if ends - now < (ends - begins) * SOON:
        return warning(what, f"{whose} holds for {duration_words(ends - now)} more, and was not renewed", mend)
    return fine(what, f"{whose} holds until {moment_words(ends)}")


def judge_clock(skew: float | None) -> CheckResult:
    """Return the verdict on this machine's clock; ``skew`` is by how many seconds the other one is ahead, if known."""
    if skew is None:
        return warning("clock", "the other side does not tell its time", "compare the clocks yourself")
    if abs(skew) <= SKEW:
        return fine("clock", f"it differs by {abs(skew):.0f} s from the metaserver's")
    direction = "slow" if skew > 0 else "fast"
    words = f"this machine's is {duration_words(abs(skew))} {direction}, seen from the metaserver"
    mend = "set the clock, best by NTP (timedatectl set-ntp true)"
    return problem("clock", words, mend) if abs(skew) > SKEW_HARMS else warning("clock", words, mend)


def judge_greeting(where: str, version: str, error: str, mend: str) -> CheckResult:
    """Return the verdict on being greeted: ``version`` is what is spoken there, ``error`` why there was no greeting."""
    if error:
        return problem("protocol", error, mend)
    return fine("protocol", f"{where} speaks {version}, as this program does")
