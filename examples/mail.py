"""Mail over STARTTLS: a server that takes mail and a client that sends it (RFC 5321, RFC 3207).

    python examples/mail.py tcp://127.0.0.1:2525 certificate.pem key.pem

One connection changes its framing on the way: from commands, which are text, to the lines of a message, which
are bytes, and back; and from plaintext to TLS.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from framestream import FramingError, IOStream, Line, connect, serve, server_tls
from framestream.net import Server

if TYPE_CHECKING:
    import ssl

# Of commands and answers, on both ends.
LINE: Line[str] = Line(newline="crlf", last=False, max_size=1000)
LARGEST = 1 << 20


@dataclass
class Mail:
    """One message with its envelope."""

    sender: str
    recipients: list[str] = field(default_factory=list)
    text: bytes = b""


class MailServer:
    """Takes mail from clients that have gone over to TLS.

    Attributes:
        mails: what was taken.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.mails: list[Mail] = []
        self._tls = tls

    async def converse(self, client: IOStream[str]) -> None:
        """Serve one client: the handler of a connection."""
        await client.send("220 mail.example framestream")
        mail = Mail("")
        secure = False
        async for line in client:
            verb, _, argument = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    await client.send("250-mail.example")
                    await client.send("250 HELP" if secure else "250 STARTTLS")
                case "STARTTLS":
                    await client.send("220 go ahead")
                    # Whatever a client, or somebody in between, has sent ahead is refused here.
                    await client.start_tls(self._tls, server_side=True, timeout=10)
                    secure = True
                case "MAIL" | "RCPT" | "DATA" if not secure:
                    await client.send("530 must issue a STARTTLS command first")
                case "MAIL":
                    mail = Mail(_address(argument))
                    await client.send("250 ok")
                case "RCPT":
                    mail.recipients.append(_address(argument))
                    await client.send("250 ok")
                case "DATA":
                    await client.send("354 end with a dot on a line of its own")
                    mail.text = await _message(client)
                    self.mails.append(mail)
                    await client.send("250 taken")
                case "QUIT":
                    await client.send("221 bye")
                    return
                case _:
                    await client.send("500 what?")


def _address(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]


async def _message(stream: IOStream) -> bytes:
    text = bytearray()
    while (line := await stream.read(Line(None, newline="crlf", last=False, max_size=1000))) != b".":
        # A line that begins with a dot is sent with two (RFC 5321, section 4.5.2).
        text += line.removeprefix(b".") + b"\r\n"
        if len(text) > LARGEST:
            raise FramingError(f"message exceeds the limit of {LARGEST} bytes")
    return bytes(text)


async def send_mail(url: str, mail: Mail, tls: ssl.SSLContext, server_hostname: str) -> None:
    """Send one message, under TLS."""
    async with await connect(url, framer=LINE, frame_timeout=30) as stream:
        await _expect(stream, "220")
        await _ask(stream, "EHLO client.example", "250")
        await _ask(stream, "STARTTLS", "220")
        await stream.start_tls(tls, server_hostname=server_hostname)
        await _ask(stream, "EHLO client.example", "250")
        await _ask(stream, f"MAIL FROM:<{mail.sender}>", "250")
        for recipient in mail.recipients:
            await _ask(stream, f"RCPT TO:<{recipient}>", "250")
        await _ask(stream, "DATA", "354")
        await stream.write((b"\r\n" + mail.text).replace(b"\r\n.", b"\r\n..")[2:] + b".\r\n")
        await _expect(stream, "250")
        await _ask(stream, "QUIT", "221")


async def _ask(stream: IOStream, command: str, code: str) -> None:
    await stream.send(command)
    await _expect(stream, code)


async def _expect(stream: IOStream, code: str) -> None:
    while (line := await stream.read())[3:4] == "-":
        pass  # another line of the same answer follows
    if not line.startswith(code):
        raise FramingError(f"the server answered {line!r}")


async def open_mail_server(server: MailServer, url: str, **options: Any) -> Server:
    """Serve mail."""
    return await serve(server.converse, url, framer=LINE, idle_timeout=300, **options)


async def main(url: str, certificate: str, key: str) -> None:
    async with await open_mail_server(MailServer(server_tls(certificate, key)), url) as server:
        server.close_on(signal.SIGTERM)
        print(f"mail on {server.url}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
