"""TLS over any transport, and TLS of a socket that Python's own `ssl` has wrapped.

What comes from below is written into the engine's memory, decrypted straight into the sink's buffer, and
pushed on. Nothing in here waits: `_update` turns what is wanted, and what is in its way, into what is asked
of the transport below, after each step.

======================================================  ========  ========
asked of the transport below                            to read   to write
======================================================  ========  ========
a handshake goes on                                     yes
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

The engine HEARs and SPEAKs by itself where it works on a socket: what it cannot send or receive at once it
says when it is asked for something else. In memory it never has to SPEAK, as there is always room.
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
# keeps the size it has once had, so a connection that idles after bulk holds on to as much.
_CHUNK: Final = 1 << 17
# Encrypted at a time: so much plaintext is committed before the transport below takes any of it.
_MOST_TO_ENCRYPT: Final = 1 << 16
# Decrypted at most to say goodbye, where the engine itself receives: a peer that goes on sending would never
# come to an end. Kernels hold less for a socket.
_MOST_AT_THE_END: Final = 1 << 23


class State(Enum):
    """What asking the engine for bytes may bring; see the table above."""

    EMPTY = "nothing before more arrives"
    MORE = "bytes, or what comes after them"
    OVER = "nothing more"


class Wish(Enum):
    """What the engine needs before it does what it was asked."""

    NONE = "nothing"
    HEAR = "something of the peer, to write"
    SPEAK = "room to send, to read"


class _Ciphertext(threading.local):
    """Where all connections of a thread receive: the engine copies at once."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_CHUNK))


_ciphertext = _Ciphertext()


class TLSTransport(Transport):
    """Encrypt what goes to, and decrypt what comes from, another transport (RFC 8446, RFC 5246).

    The TLS engine works in memory, so this is the same over a socket, a pipe, a pair in memory, or TLS. It
    is the sink of the transport below. A peer that ends the connection without saying goodbye (close_notify)
    has been cut off, perhaps by an attacker: that is a lost connection (``ssl.SSLEOFError``), and only an
    end that the peer has confirmed is the end of the stream.

    The handshake is made by `shake_hands`, or else within whatever is read and written first.

    Args:
        inner: the transport to go over; belongs to this one from here on.
        context: certificates, verification, protocols offered (ALPN).
        server_side: wait for the peer to begin the handshake.
        server_hostname: whom to expect (and to ask for, SNI), on the client's side.
        truncation_is_end: take a missing goodbye for an end, for peers known to leave it out.
        received: what was received from `inner` already, and belongs to the handshake.

    Raises:
        ValueError: the context checks the host name, and there is none to check.
    """

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
        received: bytes = b"",
    ) -> None:
        check_host_name(context, server_side=server_side, server_hostname=server_hostname)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(received)
        self._start(
            inner,
            context.wrap_bio(
                self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
            ),
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
        self._broken: OSError | None = None  # what the engine had to say by itself could not be sent
        self._said_goodbye = False

    def attach(self, sink: Sink, loop: asyncio.AbstractEventLoop) -> None:
        """Push into `sink`; be the sink of the transport below."""
        super().attach(sink, loop)
        self._inner.attach(self, loop)

    # The handshake

    def shake_hands(self) -> asyncio.Future[None]:
        """Begin the handshake; return a future of its end.

        Its exception is the engine's ``ssl.SSLError``, which the peer has been told of, or the error that
        broke the connection. What came with the last of the handshake is pushed after it.
        """
        self._shaking = future = self.loop.create_future()
        self._shake()
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
        # What a server sends last in TLS 1.3 are tickets: nobody waits for them. A peer may take nothing
        # before it has something to read, or be gone, having said all it had to say. In all else the peer
        # waits for these bytes.
        optional = done and self.tls.server_side and self.tls.version() == "TLSv1.3"
        if self._broken is not None and not optional:
            self._end_handshake(self._broken)
        elif done and (optional or not self._unsent):
            self._end_handshake(None)

    def _end_handshake(self, error: Exception | None) -> None:
        future, self._shaking = self._shaking, None
        if future is not None and not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                future.exception()  # nobody has to ask for it
        if error is not None:
            self._state = State.OVER
            self._update()
        # Otherwise somebody reads soon: to have the loop watch anew is dear (uvloop: nine system calls).
        self._push_later()

    # Receiving: the sink of the transport below

    def get_buffer(self, sizehint: int, /) -> memoryview:
        """Return the buffer that all connections of this thread share."""
        return self._buffer

    def buffer_updated(self, nbytes: int, /) -> None:
        """Decrypt, and push as much as the sink wants."""
        self._incoming.write(self._buffer[:nbytes])
        if not self._reading:
            self._update()
        self._advance()

    def eof_received(self) -> None:
        """Let the engine judge whether this is the end or a truncation."""
        self._incoming.write_eof()
        self._advance()

    def connection_lost(self, error: Exception | None, /) -> None:
        """Push what can be decrypted, then the error; a connection that was closed below is cut off."""
        if error is not None and self._shaking is not None:
            self._end_handshake(error)
        self._failure = self._failure or error
        self._wish = Wish.HEAR  # so whoever writes tries again, and meets the error
        self.eof_received()

    def _advance(self) -> None:
        self._expect_more()
        self._push_all()
        if self._wish is Wish.HEAR:
            self._wish = Wish.NONE
            if self._writing:
                self._update()
                self.sink.resume_writing()

    def _expect_more(self) -> None:
        if self._state is State.EMPTY:
            self._state = State.MORE

    def resume_reading(self) -> None:
        """Push what comes from below, and in the next pass of the loop what is there already."""
        self._reading = True
        self._update()
        self._push_later()

    def pause_reading(self) -> None:
        """Leave what comes below."""
        self._reading = False
        self._update()

    def receive_now(self) -> bool:
        """Push what has arrived, decrypted already or not."""
        if self._shaking is not None:
            return False
        if not self._push():
            self._held = True  # so that what comes now is pushed once, by us
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
        """Fill the buffer with what has arrived, and keep what went wrong after it."""
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
                received = read(size - filled, buffer[filled:])
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
        """Encrypt a part of the buffers and send it; it counts as taken when all its ciphertext has left."""
        if not self._owed:
            try:
                self._owed = self.tls.write(joined(buffers, _MOST_TO_ENCRYPT))
            except ssl.SSLWantReadError:
                self._wish = Wish.HEAR
                self._carry()
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
            taken = self._inner.send((data,))
            self._unsent = memoryview(data)[taken:] if taken < len(data) else b""

    def _carry(self) -> None:
        """Send what the engine has to say by itself; nobody waits for that."""
        try:
            self._flush()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._broken = error  # whoever sends next meets it
        self._update()

    def watch_writing(self, wanted: bool) -> None:
        """Watch the transport below: for writing, or for reading if that is what sending waits for."""
        self._writing = wanted
        self._update()

    def resume_writing(self) -> None:
        """Send what is left over, and let the engine and the sink go on."""
        self._carry()
        if self._unsent and self._broken is None:
            return
        if self._shaking is not None or self._wish is Wish.SPEAK:
            self._wish = Wish.NONE
            self._expect_more()
            self._update()
            self._push_all()
        if self._writing and self._wish is not Wish.HEAR:
            self.sink.resume_writing()

    def _update(self) -> None:
        """Ask of the transport below what is wanted of this one; see the table above."""
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
        """Say goodbye (close_notify): the peer knows that nothing was cut off. Receiving goes on."""
        if not self._said_goodbye:
            # The engine would take data of the peer that waits to be read for an error. No more is received
            # for that, except where the engine itself receives.
            with suppress(OSError):
                while len(self._plain) < _MOST_AT_THE_END and (piece := self.tls.read(_CHUNK)):
                    self._plain += piece
            if len(self._plain) >= _MOST_AT_THE_END:
                raise BlockingIOError  # until some of it is pushed
            try:
                self.tls.unwrap()
                self._failure = self._failure or ssl.SSLZeroReturnError()  # the peer has said it, too
            except ssl.SSLWantWriteError:
                raise BlockingIOError from None
            except ssl.SSLError:
                pass  # the peer has not, which is the rule, or is gone, which a reader will hear of
            self._said_goodbye = True
            if self._plain or self._failure is not None:
                self._expect_more()
                self._push_later()
        self._flush()

    def discard(self) -> None:
        """Throw away what has arrived below: a server's session tickets, if nothing else."""
        self._inner.discard()

    def close(self) -> None:
        """Close the transport below; a handshake that goes on fails."""
        self._reading = self._writing = False
        self._wish, self._unsent = Wish.NONE, b""
        self._end_handshake(ConnectionAbortedError(errno.ECONNABORTED, "closed during the TLS handshake"))
        self._inner.close()

    @property
    def socket(self) -> socket.socket | None:
        """The socket underneath, if there is one."""
        return self._inner.socket

    @property
    def peer(self) -> str:
        """Who is on the other side."""
        return self._inner.peer


class TLSSocketTransport(TLSTransport):
    """A socket from ``SSLContext.wrap_socket``: for code that has one already, shaken hands or not.

    It belongs to the transport from here on. Whether a missing goodbye is an end or an error is as the socket
    was made (``suppress_ragged_eofs``).
    """

    __slots__ = ()

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


def check_host_name(context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None) -> None:
    """Raise ``ValueError`` where a certificate would be accepted whoever it is for.

    The engine in memory takes a missing name for one that need not be checked.
    """
    if context.check_hostname and not server_side and not server_hostname:
        raise ValueError("the TLS context checks host names: pass server_hostname, whom to expect")
