"""Targets that read a text or bytes and answer at once."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Mapping
from email.header import decode_header, make_header
from email.message import Message

import attrs
from cryptography import x509

from buildtool.adapters.control.decoder import Expressions, ProtocolViolation, plain
from buildtool.adapters.control.limits import PEER, STRANGER
from buildtool.adapters.mail.message import compose
from buildtool.adapters.mail.returned import REASON_LIMIT, read_returned
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.tls.certificates import PublicKey, client_certificate
from buildtool.adapters.tls.signer import FarmSigner
from buildtool.errors import BadTicket, DecodeError, EncodeError, UsageError
from buildtool.model.access.join_line import read_join_line
from buildtool.model.addresses import valid_address
from buildtool.model.binaries.judging import MEASURED, holds_code, measured, measured_need, wrong_file
from buildtool.model.farm.return_paths import ReturnTag
from buildtool.model.logs.error_lines import shown_line
from buildtool.model.logs.index import LogIndex
from buildtool.model.logs.marks import MARKS_LIMIT, WORDS_LIMIT
from buildtool.model.properties import may_be_named
from buildtool.model.tickets import read, sign
from buildtool.protocol import calls, codec
from buildtool.protocol import enrolment as enrolment_messages
from buildtool.protocol.hello import Hello
from buildtool.protocol.http_headers import asked_span, has_copy, is_unchanged
from buildtool.protocol.json_text import TextBounds, parsed
from buildtool.protocol.logs.marks import marks_text, read_marks
from tests.fuzz.keys import NOW, authority
from tests.fuzz.target import expect

KEY = bytes(range(32))
_TEXTS = TextBounds(20_000)
_MESSAGES: tuple[type[attrs.AttrsInstance], ...] = (Hello, *calls.CALLED)


def pb_decoder(data: bytes) -> None:
    """Cut bytes into expressions, in pieces and at once: both ways the same, and never more than the bounds say."""
    step = 1 + data[0] if data else 1
    for bounds in (STRANGER, PEER):
        whole, pieces = _cut(data[1:], len(data) + 1), _cut(data[1:], step)
        expect(repr(whole) == repr(pieces), "the same bytes in other pieces are something else")
        reader = Expressions(bounds)
        try:
            for expression in reader.feed(data[1:]):
                plain(expression, lambda number: ("reference", number))
        except ProtocolViolation:
            continue
        expect(reader.held <= 80 * (len(data) + 64), "more memory is counted than bytes can have brought")


def _cut(data: bytes, step: int) -> object:
    reader, done = Expressions(STRANGER), []
    try:
        for at in range(0, len(data), step):
            done += reader.feed(data[at : at + step])
    except ProtocolViolation as breach:
        return (str(breach),)
    return done, reader.held


def wire_codec(data: bytes) -> None:
    """Read a text as each message: what is understood reads back the same once it is written."""
    found = parsed(data[1:], _TEXTS)
    cls = _MESSAGES[data[0] % len(_MESSAGES)] if data else Hello
    if type(found) is dict and data[0] < len(_MESSAGES):
        found = {**found, "type": cls.__name__}
    codec.protocol_of(found) if cls is Hello else None
    message = codec.decode(cls, found)
    try:
        text = codec.text_of(message)
    except EncodeError:  # what is understood may be longer than what may be sent
        return
    again = codec.decode(cls, parsed(text, TextBounds(100_000)))
    expect(codec.text_of(again) == text, "a message that was understood reads back as another")


def tickets(data: bytes) -> None:
    """Read a ticket: one that holds is one that this key signed, to the letter."""
    text = data.decode("latin-1")
    expect(sign(read(text, KEY, NOW), KEY) == text, "a ticket that nobody signed holds")


def log_marks(data: bytes) -> None:
    """Read the marks of a log: what is understood reads back the same, and is bounded."""
    marks = read_marks(data.decode("latin-1"))
    expect(read_marks(marks_text(marks)) == marks, "marks that were understood read back as others")
    expect(all(0 <= mark.number < MARKS_LIMIT and len(mark.words) <= WORDS_LIMIT for mark in marks), "out of bounds")


def log_lines(data: bytes) -> None:
    """Index a log, in pieces and at once: both ways the same, and each line is shown as harmless text."""
    step, log = 1 + data[0] if data else 1, data[1:]
    whole, pieces = LogIndex(), LogIndex()
    whole.grow(log)
    for at in range(0, len(log), step):
        pieces.grow(log[at : at + step])
    expect(whole == pieces, "the same log in other pieces has another index")
    for line in log.split(b"\n")[:50]:
        shown = shown_line(line)
        expect(shown.isprintable() or not shown, "a line is shown with what a terminal acts on")


def ranges(data: bytes) -> None:
    """Read Range, If-None-Match and If-Range: whatever is asked for lies within what there is."""
    size, _, header = data.partition(b" ")
    length = int.from_bytes(size[:5], "big")
    text = header.decode("latin-1")
    span = asked_span(text, length)
    expect(span is None or 0 <= span.start <= span.end <= length, f"{span}")
    expect(span is None or not span.partial or span.start < span.end, f"{span}")
    expect(not has_copy(text, "0" * 64) or "0" * 64 in text or "*" in text, "an unnamed copy is believed")
    is_unchanged(text, "0" * 64)


def join_lines(data: bytes) -> None:
    """Read a line to join with: what is understood reads back the same, and its token is in no error."""
    line = read_join_line(data.decode("utf-8", "surrogateescape"))
    expect(read_join_line(str(line)) == line, "a line that was understood reads back as another")


def join_door(data: bytes) -> None:
    """Take Join as it comes over the wire, and sign what it asks for: only a key that has signed its request."""
    message = codec.decode(enrolment_messages.Join, {"type": "Join", "token": "t", "request": data.decode("latin-1")})
    signed = FarmSigner(_Signs(), Inline()).sign(message.request, "anna", NOW)  # type: ignore[arg-type]
    expect("BEGIN CERTIFICATE" in signed.certificate and len(signed.key) == 64, "something else was signed")


class _Signs:
    """What joining needs of an Authority, with a key in memory."""

    def sign(self, key: PublicKey, name: str, now: float, life: float) -> x509.Certificate:
        return client_certificate(authority(), key, name, now, life)


def mails(data: bytes) -> None:
    """Compose a mail of a stranger's words: its headers are ours, each once, and its subject reads back the same."""
    address, subject, body = ([*data.split(b"\x00", 2), b"", b"", b""])[:3]
    words = [part.decode("utf-8", "replace") for part in (address, subject, body)]
    written = compose("farm@example.org", *words, key="k", now=NOW)
    message = email.message_from_string(written.decode())
    names = sorted(name.lower() for name in message)
    expect(names == HEADERS, f"the headers are {names}")
    expect(_unfolded(message, "to") == valid_address(words[0]), "it goes to somebody else")
    subject_read = str(make_header(decode_header(message["subject"]))).replace("\n ", " ")
    expect(subject_read.split() == words[1].split(), "the subject reads back as another")


def returned_mails(data: bytes) -> None:
    """Read a message that came to an address of a mail: what is made of it is short, printable, and its tag's own."""
    address = f"b+{ReturnTag.of(b'k', 17, 'anna@example.org')}@farm.example"
    for recipient in ("", address):
        found = read_returned(data, recipient)
        if found is not None:
            expect(found.reason.isprintable() and len(found.reason) <= REASON_LIMIT, "the reason is no short line")
            expect(not recipient or found.tag.is_of(b"k", "anna@example.org"), "another tag was believed")


HEADERS = sorted(
    "from to subject date message-id auto-submitted content-type content-transfer-encoding mime-version".split()
)


def _unfolded(message: Message, name: str) -> str:
    # A long address begins on the next line, after a blank that is none of its own.
    return "".join(str(message[name]).splitlines()).strip()


ALLOWED: Mapping[str, tuple[type[Exception], ...]] = {
    "wire_codec": (DecodeError,),
    "tickets": (BadTicket,),
    "join_lines": (UsageError,),
    "join_door": (UsageError, DecodeError),
    "mails": (UsageError, ValueError),
    "log_marks": (DecodeError,),
}
"""What each may raise."""


def binaries(data: bytes) -> None:
    """Measure a file of a build: a few needs of short words, and one that is read whole where its head says so."""
    file = measured("made", data)
    expect(file is None or len(repr(file.needs)) < 1_000_000, "one file needs more than can be told")
    if file is None:
        return
    expect(not file.needs or holds_code(data), "a file is measured that would not have been read")
    files = (file, attrs.evolve(file, name="other"))
    for platform in ({"os": "linux", "arch": "x86_64", "libc": "glibc", "libc_version": "2.28"}, {"os": "windows"}, {}):
        expect(len(wrong_file(files, platform)) < 2_000, "one line says too much")
        for name, value in measured_need(files, platform):
            expect(name in (*MEASURED, "windows", "wasi") and may_be_named(value), "a need has no short word")
        expect(wrong_file(files, platform, ["made", "oth*"]) == "", "a file that was named foreign is not asked for")
