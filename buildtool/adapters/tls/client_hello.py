"""What a client names in the first message of TLS, read before OpenSSL has it: the protocols it would speak (ALPN).

OpenSSL tells a program of them only when the certificate is chosen already. Nothing is decided here: what cannot be
read names nothing, and OpenSSL says what is wrong with it.
"""

from __future__ import annotations

HELLO_LIMIT = 32 * 1024
"""Most bytes of records that are looked at; browsers and our programs send less than 3,000."""

MOST_RECORDS = 16
"""Most records that the message may come in; all of it fits into one."""

_RECORD, _CLIENT_HELLO, _ALPN = 22, 1, 16
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_VERSION_AND_RANDOM = 2 + 32


class _Unreadable(Exception):
    """What came is no first message of TLS."""


def named_protocols(data: bytes) -> tuple[bytes, ...] | int:
    """Return the protocols that a client names in its first records, or how many bytes are needed to look again.

    What cannot be read names none.
    """
    try:
        message = _message(data)
        return message if isinstance(message, int) else _protocols(message)
    except _Unreadable:
        return ()


def _message(data: bytes) -> bytes | int:
    """Return the first message, which may come in several records, or how many bytes are needed to look again."""
    found, at = b"", 0
    for _ in range(MOST_RECORDS):
        if len(data) < at + _RECORD_HEAD:
            return at + _RECORD_HEAD
        end = at + _RECORD_HEAD + int.from_bytes(data[at + 3 : at + _RECORD_HEAD], "big")
        if data[at] != _RECORD or end == at + _RECORD_HEAD or end > HELLO_LIMIT:
            raise _Unreadable
        if len(data) < end:
            return end
        found += data[at + _RECORD_HEAD : end]
        if len(found) >= _MESSAGE_HEAD:
            most = _MESSAGE_HEAD + int.from_bytes(found[1:_MESSAGE_HEAD], "big")
            if found[0] != _CLIENT_HELLO:
                raise _Unreadable
            if len(found) >= most:
                return found[_MESSAGE_HEAD:most]
        at = end
    raise _Unreadable


def _protocols(message: bytes) -> tuple[bytes, ...]:
    rest = message[_VERSION_AND_RANDOM:]
    _session, rest = _counted(rest, 1)
    _suites, rest = _counted(rest, 2)
    _compressions, rest = _counted(rest, 1)
    if not rest:
        return ()
    extensions, _ = _counted(rest, 2)
    while extensions:
        kind = int.from_bytes(extensions[:2], "big")
        extension, extensions = _counted(extensions[2:], 2)
        if kind == _ALPN:
            return _names(_counted(extension, 2)[0])
    return ()


def _names(listed: bytes) -> tuple[bytes, ...]:
    found = []
    while listed:
        name, listed = _counted(listed, 1)
        found.append(name)
    return tuple(found)


def _counted(data: bytes, width: int) -> tuple[bytes, bytes]:
    """Return a part whose length stands before it in ``width`` bytes, and what follows. Raises _Unreadable."""
    if len(data) < width:
        raise _Unreadable
    end = width + int.from_bytes(data[:width], "big")
    if len(data) < end:
        raise _Unreadable
    return data[width:end], data[end:]
