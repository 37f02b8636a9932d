"""``python -m buildtool.demo.mailbox``: a receiving mail server for the demo and for trying a farm out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTCP

from buildtool.demo.smtp_sink import MailboxServer
from buildtool.model.text import printable
from buildtool.programs.common.program import EXIT_OK, StopRequest, run

PROGRAM = "mailbox"


def main() -> int:
    """Run until told to stop; every mail is announced on stdout once it is on disk."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Receives mail for anybody into one Maildir.")
    parser.add_argument("directory", type=Path, help="the Maildir")
    parser.add_argument("--port", type=int, default=0, help="where to listen (default: a free port, which is printed)")
    arguments = parser.parse_args()

    def received(recipient: str) -> None:
        print(f"mail for {printable(recipient)}", flush=True)

    async def serve(reactor: ReactorBase, stop: StopRequest) -> int:
        server = MailboxServer(IReactorTCP(reactor), arguments.directory, port=arguments.port, received=received)
        server.startService()
        print(f"listening on port {server.port}", flush=True)
        await stop.asked()
        await server.stopService()
        return EXIT_OK

    return run(PROGRAM, serve)


if __name__ == "__main__":
    sys.exit(main())
