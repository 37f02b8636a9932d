"""All targets, by name."""

from __future__ import annotations

from buildtool.model.tickets import TicketKind
from tests.fuzz import api_bodies, talks, texts, transfers
from tests.fuzz.target import Target

_HTTP = tuple(
    f"{word}".encode()
    for word in (
        "GET ", "HEAD ", "PUT ", "POST ", " HTTP/1.1\r\n", "\r\n\r\n", "Host: x\r\n", "Content-Length: ",
        "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n", "Connection: keep-alive\r\n", "Range: bytes=",
        "%00", "%2e%2e/", "%ff", "?", "0\r\n\r\n", "If-None-Match: *\r\n", "X-Forwarded-For: 127.0.0.1\r\n",
    )
)  # fmt: skip
_TRANSFERS = (
    *(transfers.permit(kind) for kind in TicketKind),
    *(word.encode() for word in ("/uploads/7/1", "/logs/7/1", "/sources/7/1", f"/artifacts/{transfers.DIGEST}/a.zip")),
    *(word.encode() for word in ("Upload-Offset: 0\r\n", "Upload-Length: ", "Upload-Digest: ", "?offset=0&wait=9")),
)
_PB = tuple(bytes((number, 0x87)) for number in (1, 9, 11, 17)) + tuple(
    bytes((len(word), 0x82)) + word for word in (b"pb", b"root", b"hello", b"unicode", b"dictionary", b"boolean")
)
_JSON = (b'"type":', b'"\\ud800"', b"NaN", b"1e999", b"\\u0000", b"null", b"true", b"[]", b"{}", b'""', b",", b":")
_TLS = (
    b"\x16\x03\x01", b"\x16\x03\x03", b"\x15\x03\x03\x00\x02\x01\x00", b"\x14\x03\x03\x00\x01\x01",
    b"\x17\x03\x03", b"\x01\x00", b"\x00\x10", b"\x0bbuildtool/3", b"\x08http/1.1", b"\x02h2", b"\xff\xff",
)  # fmt: skip
_PEM = (b"-----BEGIN CERTIFICATE REQUEST-----\n", b"-----END CERTIFICATE REQUEST-----\n", b"\n", b"=", b"MII")
_LOGS = (
    b"\n", b"\r", b"\x1b[", b"m", b"\x1b[31m", b"error: ", b"warning: ", b"FAILED", b"make: *** ", b"\nERROR ",
    b"\x1b]0;", b"\x07", b"38;5;", b"\x00", b"\xff", b"ror: ", b"Traceback (most recent call last):",
)  # fmt: skip
_MAIL = (
    b"\x00", b"\r\n", b"\r\nBcc: victim@example.org\r\n", b"=?utf-8?q?", b"?=", b"@", b"\n\n", b"\n.\n",
    b"\xe2\x80\xae", b"anna@example.org", b",", b"<>", b'"', b"\x85", b"\xe2\x80\xa8",
)  # fmt: skip
_REPORT = (
    b"Content-Type: multipart/report; boundary=x\n", b"\n--x\n", b"\n--x--\n",
    b"Content-Type: message/delivery-status\n\n",
    b"Action: failed\n", b"Status: 5.1.1\n", b"Diagnostic-Code: smtp; 550 no\n", b"Remote-MTA: dns; mx.example\n",
    b"To: b17-0123456789abcdef0123@farm.example\n", b"=?utf-8?q?", b"\x1b[31m", b"\xff", b"\n ", b"\n\n",
)  # fmt: skip

_BINARIES = (
    b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x02\x01", b"GLIBC_2.34\0", b"libc.so.6\0", b"MZ", b"PE\0\0\x64\x86",
    b"\0asm\x01\0\0\0", b"wasi_snapshot_preview1", b"\xca\xfe\xba\xbe\0\0\0\x02", b"\xcf\xfa\xed\xfe\x07\0\0\x01",
    b"\x32\0\0\0\x18\0\0\0\x01\0\0\0",
    b"!<arch>\n", b"#1/20", b"`\n", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x80",
)  # fmt: skip

_API = (
    b"POST /api/v1/requests HTTP/1.1\r\n", b"GET /api/v1/builds?limit=", b"Content-Type: application/json\r\n",
    b"Idempotency-Key: " + b"0" * 32 + b"\r\n", b"Authorization: Bearer bt_x\r\n", b"Cookie: session=bs_x.y\r\n",
    b'"project":"lua"', b'"compile":{"gc":"none"}', b'"items":[', b'"lasts":1', b'"on":true',
)  # fmt: skip

_ALL = (
    Target("pb_decoder", texts.pb_decoder, words=_PB, longest=8_000),
    Target("wire_codec", texts.wire_codec, texts.ALLOWED["wire_codec"], _JSON),
    Target("tickets", texts.tickets, texts.ALLOWED["tickets"], (b"artifact.", b"log.", b".", b"0"), 600),
    Target("log_marks", texts.log_marks, texts.ALLOWED["log_marks"], (*_JSON, b"begin", b"failed", b"[["), 4_000),
    Target("log_lines", texts.log_lines, words=_LOGS, longest=8_000),
    Target("binaries", texts.binaries, words=_BINARIES, longest=12_000),
    Target("ranges", texts.ranges, words=(b"bytes=", b"-", b",", b'"', b"W/", b"*", b"0" * 64), longest=4_000),
    Target(
        "join_lines", texts.join_lines, texts.ALLOWED["join_lines"], (b"/sha256:", b"[", b"]", b":", b",", b"a" * 64)
    ),
    Target("join_door", texts.join_door, texts.ALLOWED["join_door"], _PEM, 9_000),
    Target("mails", texts.mails, texts.ALLOWED["mails"], _MAIL, 6_000),
    Target("returned_mails", texts.returned_mails, words=_REPORT, longest=6_000),
    Target("control", talks.control, words=_PB),
    Target("tls_records", talks.tls_records, words=_TLS),
    Target("tls_handshakes", talks.tls_handshakes, words=_TLS, longest=4_000),
    Target("pages", talks.pages, words=(*_HTTP, *_API)),
    Target("api_bodies", api_bodies.api_bodies, api_bodies.ALLOWED, (*_JSON, *_API), 6_000),
    Target("transfers", transfers.transfers, words=(*_HTTP, *_TRANSFERS)),
)

TARGETS = {target.name: target for target in _ALL}
