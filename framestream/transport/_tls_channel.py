"""TLS over any channel."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

from framestream.transport._channel import Buffer, Callback, Channel
from framestream.transport._readiness import Readiness

_CHUNK = 1 << 16
# Encrypted at a time: so much plaintext is committed before the channel below takes any of it.
_MOST_TO_ENCRYPT = 1 << 16
# Decrypted at most to say goodbye.
_MOST_AT_THE_END = 1 << 18


class TLSChannel(Channel):
    """Encrypt what goes to, and decrypt what comes from, another channel (RFC 8446, RFC 5246).

    The TLS engine works in memory, so this is the same over a socket, a pipe, a pair in memory, or TLS.
    A peer that ends the connection without saying goodbye (close_notify) has been cut off, perhaps by an
    attacker: `receive` raises ``ssl.SSLEOFError`` then, and returns ``b""`` only for an end that the peer
    has confirmed.

    Args:
        inner: the channel to go over; belongs to this one from here on.
        context: certificates, verification, protocols offered (ALPN).
        server_side: wait for the peer to begin the handshake.
        server_hostname: whom to expect (and to ask for, SNI), on the client's side.
        truncation_is_end: take a missing goodbye for an end, for peers known to leave it out.
        received: what was received from `inner` already, and belongs to the handshake.

    Raises:
        ValueError: the context checks the host name, and there is none to check.
    """

    __slots__ = (
        "_failure",
        "_incoming",
        "_inner",
        "_loop",
        "_more",
        "_outgoing",
        "_owed",
        "_plain",
        "_read_callback",
        "_read_ready",
        "_said_goodbye",
        "_send_wants_read",
        "_truncation_is_end",
        "_unsent",
        "_watching",
        "_write_callback",
        "tls",
    )

    tls: ssl.SSLObject

    def __init__(
        self,
        inner: Channel,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        truncation_is_end: bool = False,
        received: bytes = b"",
    ) -> None:
        check_host_name(context, server_side=server_side, server_hostname=server_hostname)
        self._incoming = ssl.MemoryBIO()
        self._incoming.write(received)
        self._outgoing = ssl.MemoryBIO()
        tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._start(inner, tls, truncation_is_end=truncation_is_end)

    def _start(self, inner: Channel, tls: ssl.SSLObject, *, truncation_is_end: bool = False) -> None:
        self._inner = inner
        self.tls = tls
        self._truncation_is_end = truncation_is_end
        self._said_goodbye = False
        self._failure: OSError | None = None  # met behind decrypted bytes: raised next
        self._plain: list[bytes] = []  # decrypted ahead of a half-close
        self._unsent: Buffer = b""  # ciphertext the channel below has not taken
        self._owed = 0  # plaintext that is encrypted and not yet reported as sent
        self._more = True  # there may be more to decrypt, whatever the channel below says
        self._read_ready = Readiness(self._has_more)
        self._send_wants_read = False
        self._read_callback: Callback | None = None
        self._write_callback: Callback | None = None
        self._watching = (False, False)
        self._loop: asyncio.AbstractEventLoop

    def handshake(self) -> None:
        """Go on with the handshake; raise ``BlockingIOError`` until it is done."""
        self._more = False  # who waits for a handshake waits for the channel below
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._push()
                self._pull()
            except ssl.SSLWantWriteError:
                self._blocked_by_sending()
            except ssl.SSLError:
                # The alert tells the peer why; if it cannot be sent, the error here is still the reason.
                with suppress(OSError):
                    self._push()
                raise
            else:
                self._push_last()
                self._more = True  # the last flight may have brought more
                return

    def _push_last(self) -> None:
        try:
            self._push()
        except OSError:
            # What a server sends last in TLS 1.3 are tickets: nobody waits for them. A peer may take nothing
            # before it has something to read, or be gone, having said all it had to say. In all else the
            # peer waits for these bytes.
            if not self.tls.server_side or self.tls.version() != "TLSv1.3":
                raise

    @property
    def wants_write(self) -> bool:
        """True if what blocks is sending, even inside `handshake` or `receive`."""
        return bool(self._unsent)

    # Receiving

    def receive(self, size: int) -> bytes:
        """Decrypt what has arrived: less than `size` only if that is all of it."""
        if self._plain:
            return self._take_plain(size)
        pieces: list[bytes] = []
        self._more = True
        try:
            while size:
                piece = self._decrypt(size)
                if not piece:
                    break
                pieces.append(piece)
                size -= len(piece)
        except BlockingIOError:
            self._more = False
            if not pieces:
                raise
        except OSError as error:
            if not pieces:
                raise
            self._failure = error
        self._read_ready.poke()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def receive_into(self, buffer: memoryview) -> int:
        """Decrypt into the buffer."""
        data = self.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _decrypt(self, size: int) -> bytes:
        if self._failure is not None:
            raise self._failure
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                # Reading may have produced an answer to the peer, such as a new key. If it takes none any
                # more, what it has sent can be read all the same.
                with suppress(OSError):
                    self._push()
                self._pull()
            except ssl.SSLWantWriteError:
                self._blocked_by_sending()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError:
                if self._truncation_is_end:
                    return b""
                raise

    def _pull(self) -> None:
        data = self._inner.receive(_CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _take_plain(self, size: int) -> bytes:
        data = self._plain.pop(0)
        if len(data) > size:
            self._plain.insert(0, data[size:])
        self._read_ready.poke()
        return data[:size]

    def _has_more(self) -> bool:
        return self._more or bool(self._plain)

    # Sending

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt a part of the buffers and send it; it counts as taken when all its ciphertext has left."""
        self._push()
        if not self._owed:
            self._owed = self._write(joined(buffers))
            self._push()
        taken, self._owed = self._owed, 0
        return taken

    def _write(self, data: Buffer) -> int:
        try:
            return self.tls.write(data)
        except ssl.SSLWantReadError:
            self._send_wants_read = True
            raise BlockingIOError from None
        except ssl.SSLWantWriteError:
            self._blocked_by_sending()

    def _blocked_by_sending(self) -> NoReturn:
        # An engine in memory always has room for what it sends.
        raise NotImplementedError

    def _push(self) -> None:
        if not self._unsent:
            self._unsent = self._outgoing.read()
        while self._unsent:
            taken = self._inner.send([self._unsent])
            rest = memoryview(self._unsent)[taken:]
            self._unsent = rest if len(rest) else self._outgoing.read()

    def shutdown(self) -> None:
        """Say goodbye (close_notify): the peer knows that nothing was cut off. Receiving goes on."""
        if not self._said_goodbye:
            # The engine would take data of the peer that waits to be read for an error. No more is received
            # for that, and a limit is set where the engine itself receives: a peer that goes on sending
            # would never come to an end.
            room = _MOST_AT_THE_END
            with suppress(OSError):
                while room > 0 and (piece := self.tls.read(_CHUNK)):
                    self._plain.append(piece)
                    room -= len(piece)
            with suppress(ssl.SSLError):
                self.tls.unwrap()
            self._said_goodbye = True
        self._push()

    def discard(self) -> None:
        """Throw away what has arrived below: a server's session tickets, if nothing else."""
        self._inner.discard()

    @property
    def has_farewell(self) -> bool:
        """True: see `shutdown`."""
        return True

    # Watching

    def watch_read(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Watch the channel below, and what is decrypted already."""
        self._read_callback = callback
        self._read_ready.watch(loop, callback)
        self._update(loop)

    def watch_write(self, loop: asyncio.AbstractEventLoop, callback: Callback | None) -> None:
        """Watch the channel below: for writing, or for reading if that is what sending waits for."""
        self._write_callback = callback
        self._update(loop)

    def _update(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        writer_reads = self._write_callback is not None and self._send_wants_read
        read = self._read_callback is not None or writer_reads
        write = (self._write_callback is not None and not writer_reads) or (read and self.wants_write)
        was_read, was_write = self._watching
        self._watching = (read, write)
        if read != was_read:
            self._inner.watch_read(loop, self._on_readable if read else None)
        if write != was_write:
            self._inner.watch_write(loop, self._on_writable if write else None)

    def _on_readable(self) -> None:
        if self._read_callback is not None:
            self._read_callback()
        if self._send_wants_read and self._write_callback is not None:
            self._send_wants_read = False
            self._write_callback()

    def _on_writable(self) -> None:
        if self._write_callback is not None:
            self._write_callback()
            return
        try:
            self._push()
        except BlockingIOError:
            return
        except OSError:
            self._unsent = b""  # whoever writes next meets the error
        self._update(self._loop)

    # What it is

    def close(self) -> None:
        """Close the channel below."""
        self._inner.close()

    @property
    def socket(self) -> socket.socket | None:
        """The socket underneath, if there is one."""
        return self._inner.socket

    @property
    def peer(self) -> str:
        """Who is on the other side."""
        return self._inner.peer


def check_host_name(context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None) -> None:
    """Raise ``ValueError`` where a certificate would be accepted whoever it is for.

    The engine in memory takes a missing name for one that need not be checked.
    """
    if context.check_hostname and not server_side and not server_hostname:
        raise ValueError("the TLS context checks host names: pass server_hostname, whom to expect")


def joined(buffers: Sequence[Buffer]) -> Buffer:
    """Return the first bytes of these buffers as one: each record costs 22 bytes and a call."""
    pieces = list(_first(buffers, _MOST_TO_ENCRYPT))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _first(buffers: Sequence[Buffer], size: int) -> Iterator[Buffer]:
    for buffer in buffers:
        yield buffer if len(buffer) <= size else memoryview(buffer)[:size]
        size -= len(buffer)
        if size <= 0:
            return
