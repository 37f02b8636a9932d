"""IRC for tests: a real server in a process of its own, and somebody in a channel who hears what is said there."""

import socket
import subprocess
from pathlib import Path

from attrs import define, field

from buildtool.programs.local.ground import free_ports
from tests.support.packages import require


@define
class IrcServer:
    """ngircd on loopback, in the clear and by TLS, with a channel ``#farm`` that has a key, if one is said."""

    directory: Path
    password: str = ""
    key: str = ""
    port: int = field(init=False)
    tls_port: int = field(init=False)
    _process: "subprocess.Popen[bytes] | None" = None

    def __attrs_post_init__(self) -> None:
        self.port, self.tls_port = free_ports(2)

    def start(self, certificate: Path | None = None, private: Path | None = None) -> None:
        program = require("ngircd", "ngircd")
        told = [
            "[Global]", "Name = irc.test", "Info = for tests", "Listen = 127.0.0.1", f"Ports = {self.port}",
            "MotdPhrase = hello", *([f"Password = {self.password}"] if self.password else []),
            "[Options]", "PAM = no", "Ident = no", "DNS = no", "SyslogFacility = user",
            "[Channel]", "Name = #farm", *([f"Modes = +k {self.key}"] if self.key else []),
        ]  # fmt: skip
        if certificate is not None and private is not None:
            told += ["[SSL]", f"CertFile = {certificate}", f"KeyFile = {private}", f"Ports = {self.tls_port}"]
        path = self.directory / "ngircd.conf"
        path.write_text("\n".join([*told, ""]))
        self._process = subprocess.Popen([program, "-n", "-f", str(path)], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        self._until_it_listens()

    def _until_it_listens(self) -> None:
        while True:
            assert self._process is not None
            assert self._process.poll() is None, "ngircd ended"
            try:
                socket.create_connection(("127.0.0.1", self.port), 30).close()
            except ConnectionRefusedError:
                continue
            return

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


class Listener:
    """Somebody in ``#farm``, in the clear."""

    def __init__(self, server: IrcServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), 30)
        self._lines = self._socket.makefile("r", encoding="utf-8", newline="\r\n")
        if server.password:
            self._send(f"PASS :{server.password}")
        self._send("NICK ear")
        self._send("USER ear 0 * :ear")
        self.until(" 001 ")
        self._send(f"JOIN #farm {server.key}".rstrip())
        self.until(" 366 ")

    def _send(self, line: str) -> None:
        self._socket.sendall(f"{line}\r\n".encode())

    def until(self, words: str) -> str:
        """Return the next line that has these words in it."""
        told = []
        for line in self._lines:
            told.append(line)
            if line.startswith("PING"):
                self._send(f"PONG {line.split(None, 1)[1].strip()}")
            if words in line:
                return line.rstrip("\r\n")
        raise AssertionError(f"the connection ended before {words!r}: {told}")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()
