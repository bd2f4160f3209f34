"""TLS over any transport, and TLS of a socket that Python's own `ssl` has wrapped.

Bytes from below are written into the engine's memory, decrypted straight into the sink's buffer, and
pushed on. Nothing here waits: after each step, `_update` derives from what is wanted, and what prevents it,
what to ask of the transport below.

======================================================  ========  ========
asked of the transport below                            to read   to write
======================================================  ========  ========
a handshake is under way                                yes
the sink reads, and the end was not pushed (not OVER)   yes
the sink writes, and the engine must HEAR first         yes
the sink writes, otherwise                                        yes
ciphertext was not taken, or the engine must SPEAK                yes
======================================================  ========  ========

=====  ======================================================================================
state  asking the engine for bytes
=====  ======================================================================================
EMPTY  is of no use before something comes from below (MORE)
MORE   may bring bytes (MORE), nothing (EMPTY), or what comes after all of them (OVER)
OVER   is of no use any more: the end or the loss of the connection was pushed
=====  ======================================================================================

On a socket the engine HEARs and SPEAKs by itself: what it cannot send or receive at once it reports when it
is asked for something else. In memory it never has to SPEAK, as there is always room.
"""

from __future__ import annotations

import errno
import ssl
import threading
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

from framestream.transport.base import Buffer, Sink, Transport, joined
from framestream.transport.descriptor import SocketTransport

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Sequence

# Received at a time: half of it costs a sixth more for bulk, twice as much gains nothing. The engine's memory
# never shrinks, so a connection that idles after bulk holds on to as much.
_CHUNK: Final = 1 << 17
# Encrypted at a time: this much plaintext is committed before the transport below takes any of it.
_MOST_TO_ENCRYPT: Final = 1 << 16
# Decrypted at most before a close_notify, if the engine itself receives: a peer that keeps sending would
# never come to an end. Kernels hold less for a socket.
_MOST_AT_THE_END: Final = 1 << 23


class State(Enum):
    """What the engine may return when asked for bytes; see the table above."""

    EMPTY = "nothing before more arrives"
    MORE = "bytes, or what comes after them"
    OVER = "nothing more"


class Wish(Enum):
    """What the engine needs before it can do its task."""

    NONE = "nothing"
    HEAR = "bytes from the peer, to write"
    SPEAK = "room to send, to read"


class _Ciphertext(threading.local):
    """The buffer into which all connections of a thread receive: the engine copies at once."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_CHUNK))


_ciphertext = _Ciphertext()


class TLSTransport(Transport):
    """Encrypt bytes to, and decrypt bytes from, another transport (RFC 8446, RFC 5246).

    The TLS engine works in memory, so this is the same over a socket, a pipe, a pair in memory, or TLS. It
    is the sink of the transport below. A peer that ends the connection without close_notify
    was truncated, perhaps by an attacker: that is a lost connection (``ssl.SSLEOFError``), and only an
    end that the peer has confirmed is the end of the stream.

    `shake_hands` makes the handshake; without it, the first read and write do.

    Args:
        inner: the transport below; this one owns it from here on.
        context: certificates, verification, protocols offered (ALPN).
        server_side: wait for the peer to begin the handshake.
        server_hostname: the host name to expect (and to ask for, SNI), on the client's side.
        truncation_is_end: treat a missing close_notify as an end, for peers known to leave it out.

    Raises:
        ValueError: the context checks the host name, and none is given.
    """

    # Without slots an echo is a sixteenth dearer ("tls-echo-64" in benchmarks/).
    # fmt: off
    __slots__ = (
        "_broken", "_buffer", "_failure", "_held", "_incoming", "_inner", "_outgoing", "_owed", "_plain",
        "_reading", "_said_goodbye", "_shaking", "_state", "_truncation_is_end", "_unsent", "_wish",
        "_writing", "tls",
    )
    # fmt: on

    tls: ssl.SSLObject
    needs_close_notify = True

    def __init__(
        self,
        inner: Transport,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        truncation_is_end: bool = False,
    ) -> None:
        # The engine in memory takes a missing name to mean that a certificate may be for any host.
        if context.check_hostname and not server_side and not server_hostname:
            raise ValueError("the TLS context checks host names: pass server_hostname, the name to expect")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._start(
            inner,
            context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname),
            truncation_is_end,
        )

    def _start(self, inner: Transport, tls: ssl.SSLObject, truncation_is_end: bool) -> None:
        self._inner = inner
        self.tls = tls
        self._truncation_is_end = truncation_is_end
        self._buffer = _ciphertext.buffer
        self._shaking: asyncio.Future[None] | None = None
        self._wish = Wish.NONE
        # Receiving
        self._reading = False
        self._held = False  # `receive_now` is about to push
        self._state = State.MORE
        self._plain = bytearray()  # decrypted ahead of a half-close
        self._failure: Exception | None = None  # met after decrypted bytes: pushed next
        # Sending
        self._writing = False
        self._unsent: Buffer = b""  # ciphertext the transport below has not taken
        self._owed = 0  # plaintext that is encrypted and not yet reported as sent
        self._broken: OSError | None = None  # why the engine's own bytes could not be sent
        self._said_goodbye = False

    def attach(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        """Push into `sink`; become the sink of the transport below."""
        super().attach(sink, loop)
        self._inner.attach(self, loop)

    # The handshake

    def shake_hands(self, received: bytes = b"") -> asyncio.Future[None]:
        """Begin the handshake, with the bytes received for it already; return a future of its end.

        Its exception is the engine's ``ssl.SSLError``, which was reported to the peer, or the error that
        broke the connection. Bytes that arrived with the last of the handshake are pushed after it.
        """
        if received:
            self._incoming.write(received)
        self._shaking = future = self.loop.create_future()
        if not self.tls.server_side or self._incoming.pending or self._incoming.eof:
            self._shake()  # otherwise the peer begins
        self._update()
        return future

    def _shake(self) -> None:
        done, self._wish = False, Wish.NONE
        try:
            self.tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            self._wish = Wish.SPEAK
        except Exception as error:  # noqa: BLE001 - it is the future's
            self._carry()  # an alert tells the peer why
            self._end_handshake(error)
            return
        self._carry()
        # A server's last bytes in TLS 1.3 are tickets, which no client waits for. They leave at once all the
        # same: put off until the next write, they kept a client that coalesces small writes (Nagle's
        # algorithm) waiting 40 ms for its last bytes to be acknowledged. A peer may take nothing before it
        # has something to read, or be gone after sending everything. In all other cases the peer waits for
        # these bytes.
        if done and (not (self._unsent or self._broken) or (self.tls.server_side and self.tls.version() == "TLSv1.3")):
            self._end_handshake(None)
        elif self._broken is not None:
            self._end_handshake(self._broken)

    def _end_handshake(self, error: Exception | None) -> None:
        future, self._shaking = self._shaking, None
        if future is not None and not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                future.exception()  # so that asyncio does not warn
        if error is not None:
            self._state = State.OVER
            self._update()
        # Otherwise a read follows soon, and watching anew is expensive (uvloop: nine system calls).
        self._push_later()

    # Receiving: the sink of the transport below

    def get_buffer(self, sizehint: int, /) -> memoryview:
        """Return the buffer that all connections of this thread share."""
        return self._buffer

    def buffer_updated(self, nbytes: int, /) -> None:
        """Decrypt, and push as much as the sink wants."""
        self._incoming.write(self._buffer[:nbytes])
        if self._shaking is not None:
            self._shake()
            return
        if not self._reading:
            self._update()
        self._advance()

    def eof_received(self) -> None:
        """Let the engine judge whether this is the end or a truncation."""
        self._incoming.write_eof()
        self._advance()

    def connection_lost(self, error: Exception | None, /) -> None:
        """Push what can be decrypted, then the error; a connection closed below is truncated."""
        if error is not None and self._shaking is not None:
            self._end_handshake(error)
        self._failure = self._failure or error
        self._wish = Wish.HEAR  # so that a writer tries again, and meets the error
        self.eof_received()

    def _advance(self) -> None:
        if self._state is State.EMPTY:
            self._state = State.MORE
        self._push_all()
        if self._wish is Wish.HEAR:
            self._wish = Wish.NONE
            if self._writing:
                self._update()
                self.sink.resume_writing()

    def resume_reading(self) -> None:
        """Push bytes from below, and in the next pass of the loop those that have arrived already."""
        self._reading = True
        self._update()
        self._push_later()

    def pause_reading(self) -> None:
        """Leave bytes below."""
        self._reading = False
        self._update()

    def receive_now(self) -> bool:
        """Push bytes that have arrived, decrypted already or not."""
        if self._shaking is not None:
            return False
        if not self._push():
            self._held = True  # so that bytes arriving now are pushed once, by us
            self._inner.receive_now()
            self._held = False
            if not self._push():
                return False
        self._push_later()
        return True

    def _push_later(self) -> None:
        if self._reading and self._state is State.MORE:
            self.loop.call_soon(self._push_all)

    def _push_all(self) -> None:
        if self._shaking is not None:
            self._shake()
            return
        # Each push runs the sink's code, which may pause, close, read or write.
        while self._reading and not self._held and self._state is State.MORE:
            self._push()

    def _push(self) -> bool:
        """Decrypt into one buffer of the sink and push it; without bytes, push the end if there is one."""
        if self._state is not State.MORE:
            return False
        size = self._decrypt(self.sink.get_buffer(-1))
        if self._outgoing.pending or self._wish is Wish.SPEAK:
            self._carry()  # an answer to the peer, such as a new key, or an alert
        if size:
            self.sink.buffer_updated(size)
            return True
        failure = self._failure
        if failure is None:
            return False
        self._state = State.OVER
        self._update()
        if isinstance(failure, ssl.SSLZeroReturnError) or (
            self._truncation_is_end and isinstance(failure, ssl.SSLEOFError)
        ):
            self.sink.eof_received()
        else:
            self.sink.connection_lost(failure)
        return True

    def _decrypt(self, buffer: memoryview) -> int:
        """Fill the buffer with decrypted bytes, and store an error that follows them."""
        size = len(buffer)
        if self._plain:
            filled = min(len(self._plain), size)
            buffer[:filled] = self._plain[:filled]
            del self._plain[:filled]
            return filled
        filled, incoming = 0, self._incoming
        read: Callable[[int, memoryview], int] = self.tls.read  # type: ignore[assignment]  # with a buffer
        try:
            while filled < size:
                if filled and not incoming.pending and not incoming.eof:
                    self._state = State.EMPTY  # asking the engine once too often costs an exception
                    break
                received = read(size - filled, buffer[filled:] if filled else buffer)
                if not received:
                    raise ssl.SSLZeroReturnError
                filled += received
        except ssl.SSLWantReadError:
            self._state = State.EMPTY
        except ssl.SSLWantWriteError:
            self._state, self._wish = State.EMPTY, Wish.SPEAK
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more can be decrypted
            self._failure = self._failure or error
        return filled

    # Sending

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt and send a part of the buffers."""
        return self.send_bytes(b"" if self._owed else joined(buffers, _MOST_TO_ENCRYPT))

    def send_bytes(self, data: Buffer) -> int:
        """Encrypt and send a part of the bytes; it counts as taken when all its ciphertext has left."""
        if not self._owed:
            if len(data) > _MOST_TO_ENCRYPT:
                data = memoryview(data)[:_MOST_TO_ENCRYPT]
            try:
                self._owed = self.tls.write(data)
            except ssl.SSLWantReadError:
                self._wish = Wish.HEAR
                self._carry()
                self._update()
                raise BlockingIOError from None
            except ssl.SSLWantWriteError:
                raise BlockingIOError from None
        self._flush()
        taken, self._owed = self._owed, 0
        return taken

    def _flush(self) -> None:
        if self._broken is not None:
            raise self._broken
        while self._unsent or self._outgoing.pending:
            data = self._unsent = self._unsent or self._outgoing.read()
            taken = self._inner.send_bytes(data)
            self._unsent = memoryview(data)[taken:] if taken < len(data) else b""

    def _carry(self) -> None:
        """Send the engine's own bytes; no caller waits for that."""
        try:
            self._flush()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._broken = error  # the next send meets it
        if self._unsent or self._wish is Wish.SPEAK:
            self._update()

    def watch_writing(self, wanted: bool) -> None:
        """Watch the transport below: for writing, or for reading if sending waits for that."""
        self._writing = wanted
        self._update()

    def resume_writing(self) -> None:
        """Send the remaining ciphertext, and let the engine and the sink continue."""
        self._carry()
        if self._unsent and self._broken is None:
            return
        must_go_on = self._shaking is not None or self._wish is Wish.SPEAK
        if must_go_on:
            self._wish = Wish.NONE
        self._update()
        if must_go_on:
            self._advance()
        if self._writing and self._wish is not Wish.HEAR:
            self.sink.resume_writing()

    def _update(self) -> None:
        """Ask the transport below for what this one needs; see the table above."""
        must_hear = self._writing and self._wish is Wish.HEAR
        reads = self._reading and self._state is not State.OVER
        if self._shaking is not None or reads or must_hear:
            self._inner.resume_reading()
        else:
            self._inner.pause_reading()
        owes = self._wish is Wish.SPEAK or (bool(self._unsent) and self._broken is None)
        self._inner.watch_writing(owes or (self._writing and not must_hear))

    # The end

    def shutdown(self) -> None:
        """Send close_notify, so that the peer knows that nothing was truncated. Receiving continues."""
        if not self._said_goodbye:
            # The engine would take the peer's unread data for an error. No more is received
            # for that, except if the engine itself receives.
            if self._state is State.MORE or self._incoming.eof:
                with suppress(OSError):
                    while len(self._plain) < _MOST_AT_THE_END and (piece := self.tls.read(_CHUNK)):
                        self._plain += piece
            if len(self._plain) >= _MOST_AT_THE_END:
                raise BlockingIOError  # until some of it is pushed
            try:
                self.tls.unwrap()
                self._failure = self._failure or ssl.SSLZeroReturnError()  # the peer has sent it, too
            except ssl.SSLWantWriteError:
                raise BlockingIOError from None
            except ssl.SSLError:
                pass  # the peer has not, as usual, or is gone, which a reader will notice
            self._said_goodbye = True
            if self._plain or self._failure is not None:
                if self._state is State.EMPTY:
                    self._state = State.MORE
                self._push_later()
        self._flush()

    def discard(self) -> None:
        """Discard bytes that have arrived below: a server's session tickets, for instance."""
        self._inner.discard()

    def close(self) -> None:
        """Close the transport below; a handshake under way fails."""
        self._reading = self._writing = False
        self._wish, self._unsent = Wish.NONE, b""
        if self._shaking is not None:
            self._end_handshake(ConnectionAbortedError(errno.ECONNABORTED, "closed during the TLS handshake"))
        self._inner.close()

    @property
    def socket(self) -> socket.socket | None:
        """The socket underneath, if there is one."""
        return self._inner.socket

    @property
    def peer(self) -> str:
        """The other side's address."""
        return self._inner.peer


class TLSSocketTransport(TLSTransport):
    """A socket from ``SSLContext.wrap_socket``: for code that has one already, with or without a handshake.

    The transport owns it from here on. Whether a missing close_notify is an end or an error was decided when
    the socket was made (``suppress_ragged_eofs``).
    """

    tls: ssl.SSLSocket  # type: ignore[assignment]  # it has the methods of the engine in memory

    def __init__(self, sock: ssl.SSLSocket, peer: str = "") -> None:
        # The engine receives and sends by itself: nothing passes through its memory here, and only it can
        # tell that there is no more.
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write_eof()
        self._start(_WatchedSocket(sock, peer), sock, False)  # type: ignore[arg-type]


class _WatchedSocket(SocketTransport):
    """A socket that tells its sink when to receive."""

    __slots__ = ()

    def _on_readable(self) -> bool:
        self.sink.eof_received()
        return True
