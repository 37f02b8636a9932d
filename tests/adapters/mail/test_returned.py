"""Mails that came back, as mail servers write them, and whatever else comes to such an address."""

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.adapters.mail.returned import READ_LIMIT, REASON_LIMIT, ReturnedMail, read_returned
from buildtool.model.farm.return_paths import ReturnTag

TAG = ReturnTag.of(b"k" * 32, 17, "alice@example.org")
ADDRESS = f"farm-bounces+{TAG}@farm.example.org"

POSTFIX = f"""\
Return-Path: <>
Delivered-To: {ADDRESS}
Date: Fri, 27 Nov 2026 10:00:00 +0000 (UTC)
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {ADDRESS}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4A1B2C.1764237600/mx.example.net"
Content-Transfer-Encoding: 8bit
Message-Id: <20261127100000.5D6E7F@mx.example.net>

This is a MIME-encapsulated message.

--4A1B2C.1764237600/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=utf-8

This is the mail system at host mx.example.net.

<alice@example.org>: host mail.example.org[192.0.2.1] said: 550 5.1.1
    <alice@example.org>: Recipient address rejected: User unknown

--4A1B2C.1764237600/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
X-Postfix-Queue-ID: 4A1B2C
Arrival-Date: Fri, 27 Nov 2026 09:59:58 +0000 (UTC)

Final-Recipient: rfc822; alice@example.org
Original-Recipient: rfc822;alice@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.org
Diagnostic-Code: smtp; 550 5.1.1 <alice@example.org>: Recipient address
    rejected: User unknown

--4A1B2C.1764237600/mx.example.net
Content-Description: Undelivered Message
Content-Type: message/rfc822

From: farm@farm.example.org
To: alice@example.org
Subject: [lua] linux ppc: built: v5.4 (3f2a1b9c)

Your binary is ready.

--4A1B2C.1764237600/mx.example.net--
"""


def test_a_report_is_understood_with_the_words_of_who_refused() -> None:
    said = "550 5.1.1 <alice@example.org>: Recipient address rejected: User unknown (says mail.example.org)"
    assert read_returned(POSTFIX.encode()) == ReturnedMail(TAG, said)


def test_lines_may_end_as_on_the_wire_and_the_recipient_may_be_known_from_the_mail_server_alone() -> None:
    assert read_returned(POSTFIX.replace("\n", "\r\n").encode()) == read_returned(POSTFIX.encode())
    elsewhere = POSTFIX.replace(ADDRESS, "postmaster@farm.example.org").encode()
    assert read_returned(elsewhere) is None
    assert read_returned(elsewhere, ADDRESS) == read_returned(POSTFIX.encode())


def test_a_report_with_a_status_alone_and_one_that_says_nothing() -> None:
    bare = POSTFIX.replace("Remote-MTA: dns; mail.example.org\n", "")
    head, _, tail = bare.partition("Diagnostic-Code:")
    bare = head + tail.partition("User unknown\n")[2]
    assert read_returned(bare.encode()) == ReturnedMail(TAG, "5.1.1")
    assert read_returned(bare.replace("Status: 5.1.1\n", "").encode()) == ReturnedMail(TAG, "no reason was given")


@pytest.mark.parametrize("action", ["delayed", "relayed", "delivered", "expanded", ""])
def test_a_mail_that_may_arrive_yet_did_not_come_back(action: str) -> None:
    found = read_returned(POSTFIX.replace("Action: failed", f"Action: {action}").encode())
    assert found == ReturnedMail(TAG, "")


def test_somebody_who_is_away_or_answers_is_no_report() -> None:
    answer = EmailMessage()
    answer["To"] = ADDRESS
    answer["Auto-Submitted"] = "auto-replied"
    answer.set_content("I am away. Action: failed")
    assert read_returned(answer.as_bytes()) == ReturnedMail(TAG, "")


def test_a_message_of_parts_within_parts_and_one_without_an_end_are_read_in_bounded_time() -> None:
    nested = b"To: " + ADDRESS.encode() + b"\n"
    for depth in range(6_000):
        mark = b"%d" % depth
        nested += b"Content-Type: multipart/report; boundary=" + mark + b"\n\n--" + mark + b"\n"
    began = time.process_time()
    for message in (nested, POSTFIX.encode() + b"x" * (4 * READ_LIMIT), b"To: " + b"b1-" * READ_LIMIT):
        read_returned(message)
    assert time.process_time() - began < 30


@given(st.binary(max_size=300), st.integers(0, len(POSTFIX)), st.integers(0, 300))
def test_whatever_is_sent_is_nothing_or_one_short_printable_reason(noise: bytes, at: int, gone: int) -> None:
    whole = POSTFIX.encode()
    for message in (noise, whole[:at] + noise + whole[at + gone :]):
        found = read_returned(message)
        assert found is None or (found.reason.isprintable() and len(found.reason) <= REASON_LIMIT)
