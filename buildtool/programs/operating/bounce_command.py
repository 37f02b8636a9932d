"""``bin/metaserver bounce``: a mail that came back, as a mail server's pipe hands it over."""

from __future__ import annotations

import argparse
import sys

from buildtool.errors import BuildToolError
from buildtool.programs.common.ending import EXIT_OK, refuse
from buildtool.programs.common.output import complain, say_line
from buildtool.programs.common.subcommands import Subcommand

EXIT_TRY_LATER = 75
"""What a mail server takes for "keep it and try again" (EX_TEMPFAIL of sysexits.h)."""

TAKEN_LIMIT = 64 * 1024 * 1024
"""The most bytes that are taken of a mail: no mail server lets larger ones through, and some inputs have no end."""


def _bounce(said: argparse.Namespace) -> int:
    """Send the metaserver that runs what the mail on standard input tells, if it is one that came back."""
    from buildtool.adapters.mail.returned import read_returned

    try:
        found = read_returned(_message(), said.target or "")
    except OSError as error:
        complain(f"nothing is noted: standard input cannot be read: {error.strerror or error}")
        return EXIT_TRY_LATER
    if found is None or not found.reason:
        of = "" if found is None else f" about request {found.tag.request_id}"
        say_line(f"nothing is noted: this is no report that a mail{of} was given up")
        return EXIT_OK
    from buildtool.programs.operating.acts import OperatorAct, perform
    from buildtool.protocol.operator import ReportBounce

    act = OperatorAct("bounce", ReportBounce(str(found.tag), found.reason))
    try:
        code = perform(lambda: act, said)
    except BuildToolError as error:  # a configuration that is being changed, say: any other code would lose the report
        code = refuse("metaserver", error)
    return EXIT_OK if code == EXIT_OK else EXIT_TRY_LATER


def _message() -> bytes:
    """Return the part of standard input that is looked at. Raises OSError."""
    from buildtool.adapters.mail.returned import READ_LIMIT

    message = sys.stdin.buffer.read(READ_LIMIT)
    taken = len(message)
    while taken < TAKEN_LIMIT and (more := sys.stdin.buffer.read(READ_LIMIT)):
        taken += len(more)  # a mail server whose pipe closes early calls that an error
    return message


COMMAND: Subcommand[int] = Subcommand(
    "bounce",
    "read a mail that came back from standard input, as a mail server's pipe calls it, and note that on its request",
    'bounce "$ORIGINAL_RECIPIENT"',
    _bounce,
    "[ADDRESS]",
    options=("--json",),
)
