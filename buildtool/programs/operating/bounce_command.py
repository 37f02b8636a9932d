"""``bin/metaserver bounce``: a mail that came back, as a mail server's pipe hands it over."""

from __future__ import annotations

import argparse
import sys

from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.output import say_line
from buildtool.programs.common.subcommands import Subcommand

EXIT_TRY_LATER = 75
"""What a mail server takes for "keep it and try again" (EX_TEMPFAIL of sysexits.h)."""


def _bounce(said: argparse.Namespace) -> int:
    """Send the metaserver that runs what the mail on standard input tells, if it is one that came back."""
    from buildtool.adapters.mail.returned import READ_LIMIT, read_returned

    message = sys.stdin.buffer.read(READ_LIMIT)
    while sys.stdin.buffer.read(READ_LIMIT):
        pass  # what is left: a mail server whose pipe closes early calls that an error
    found = read_returned(message, said.target or "")
    if found is None or not found.reason:
        of = "" if found is None else f" about request {found.tag.request_id}"
        say_line(f"nothing is noted: this is no report that a mail{of} was given up")
        return EXIT_OK
    from buildtool.programs.operating.acts import OperatorAct, perform
    from buildtool.protocol.operator import ReportBounce

    act = OperatorAct("bounce", ReportBounce(str(found.tag), found.reason))
    return EXIT_OK if perform(lambda: act, said) == EXIT_OK else EXIT_TRY_LATER


COMMAND: Subcommand[int] = Subcommand(
    "bounce",
    "read a mail that came back from standard input, as a mail server's pipe calls it, and note that on its request",
    'bounce "$ORIGINAL_RECIPIENT"',
    _bounce,
    "[ADDRESS]",
    options=("--json",),
)
