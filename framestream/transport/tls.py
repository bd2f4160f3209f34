"""TLS over any transport.

Bytes from below are written into the engine's memory, decrypted straight into the sink's buffer, and
pushed on. Nothing here waits: after each step, `_update` derives from what is wanted, and what prevents it,
what to ask of the transport below.

============================================  ========  ========
asked of the transport below                  to read   to write
============================================  ========  ========
a handshake is under way                      yes
the sink reads, and the end was not pushed    yes
the engine must hear before it encrypts more  yes
the sink writes, otherwise                              yes
ciphertext was not taken                                yes
so much of it that only alerts can be it      no
============================================  ========  ========
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from framestream.transport.base import Buffer, Sink, Transport, joined, settle

# Received at a time: half of it costs a sixth more for bulk, twice as much gains nothing. The engine's memory
# never shrinks, so a connection that idles after bulk holds on to as much.
_CHUNK: Final = 1 << 17
# Encrypted at a time: this much plaintext is committed before the transport below takes any of it.
_MOST_TO_ENCRYPT: Final = 1 << 16
# Ciphertext, after what the transport below has not taken, above which nothing more is read: more than what is
# committed, so this much comes only of alerts.
_MOST_OF_ENGINE: Final = 1 << 17


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

    Call `shake_hands` after `attach`, before anything is sent.

    Args:
        inner: the transport below; this one owns it from here on.
        context: certificates, verification, protocols offered (ALPN).
        server_side: wait for the peer to begin the handshake.
        server_hostname: the host name to expect (and to ask for, SNI), on the client's side.
        truncation_is_end: treat a missing close_notify as an end, for peers known to leave it out.

    Raises:
        ValueError: the context checks the host name, and none is given; or one is given on the server's side; or what
            is given is no host name.
        TypeError: the context is not an ``ssl.SSLContext``, or the host name is not text.
    """

    # Without slots an echo is a sixteenth dearer ("tls-echo-64" in benchmarks/).
    # fmt: off
    __slots__ = (
        "_broken", "_buffer", "_end", "_held", "_incoming", "_inner", "_more", "_must_hear", "_outgoing", "_over",
        "_owed", "_plain", "_reading", "_shaking", "_truncation_is_end", "_unsent", "_writing", "peer", "socket", "tls",
    )
    # fmt: on

    tls: ssl.SSLObject
    socket: socket.socket | None
    peer: str
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
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"context is {context!r}; pass client_tls(...) or server_tls(...)")
        wrong = f"server_hostname is {server_hostname!r}; it must be a host name"
        if not (server_hostname is None or isinstance(server_hostname, str | bytes)):
            raise TypeError(wrong)
        # The engine in memory ignores a server's, unlike Python's own TLS sockets.
        if server_side and server_hostname:
            raise ValueError(f"server_hostname is {server_hostname!r}, but only a client expects one of its peer")
        # It takes a missing name to mean that a certificate may be for any host.
        if context.check_hostname and not server_side and not server_hostname:
            raise ValueError("the TLS context checks host names: pass server_hostname, the name to expect")
        self._inner = inner
        self.socket, self.peer = inner.socket, inner.peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        except (TypeError, UnicodeError) as error:  # one with a null byte, or with an empty label
            raise ValueError(wrong) from error
        self._truncation_is_end = truncation_is_end
        self._buffer = _ciphertext.buffer
        self._shaking: asyncio.Future[None] | None = None
        # Receiving
        self._reading = False
        self._held = False  # `receive_now` is about to push
        self._more = False  # asking the engine may bring something
        self._end: Exception | None = None  # what comes after all bytes
        self._over = False  # the end was pushed
        self._plain = b""  # decrypted ahead of a half-close
        # Sending
        self._writing = False
        self._must_hear = False  # the engine has to receive something before it encrypts more
        self._unsent: Buffer = b""  # ciphertext the transport below has not taken
        self._owed = 0  # plaintext that is encrypted and not yet reported as sent
        self._broken: OSError | None = None  # why the engine's own bytes could not be sent

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
        self._shaking = future = self.loop.create_future()
        self._incoming.write(received)
        if received or not self.tls.server_side:
            self._shake()  # otherwise the peer begins
        self._update()
        return future

    def _shake(self) -> None:
        error: Exception | None = None
        try:
            self.tls.do_handshake()
            is_done = True
        except ssl.SSLWantReadError:
            is_done = False
        except Exception as failure:  # noqa: BLE001 - it is the future's
            is_done, error = True, failure
        # An alert tells the peer what is wrong. A server's last bytes in TLS 1.3 are tickets, which no client
        # waits for. They leave at once all the same: put off until the next write, they kept a client that
        # coalesces small writes (Nagle's algorithm) waiting 40 ms for its last bytes to be acknowledged.
        self._carry()
        if is_done:
            self._end_handshake(error)
        elif self._broken is not None:
            self._end_handshake(self._broken)

    def _end_handshake(self, error: Exception | None) -> None:
        future, self._shaking = self._shaking, None
        if future is not None:
            settle(future, error)
        if error is not None:
            self._over = True
            self._update()
        # Otherwise a read follows soon, and watching anew is expensive (uvloop: nine system calls).
        self._more = bool(self._incoming.pending)  # asking an engine that has nothing costs an exception
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
        self._more = True
        self._push_all()

    def eof_received(self) -> None:
        """Push what can be decrypted, then the end if the peer has announced it, else the truncation."""
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None, /) -> None:
        """Push what can be decrypted, then the error; a connection closed below is truncated."""
        error = error or ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection ended without TLS's close_notify")
        if self._shaking is not None:
            self._end_handshake(error)
        self._end = self._end or error
        self._more = True
        self._push_all()

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
            if self._is_flooded():
                return False
            self._held = True  # so that bytes arriving now are pushed once, by us
            self._inner.receive_now()
            self._held = False
            if not self._push():
                return False
        self._push_later()
        return True

    def _push_later(self) -> None:
        if self._reading and self._more:
            self.loop.call_soon(self._push_all)

    def _push_all(self) -> None:
        # Each push runs the sink's code, which may pause, close, read or write.
        while self._more and self._reading and not self._held and self._push():
            pass
        if self._must_hear:
            self._must_hear = False  # the sink tries again as soon as the transport below takes bytes
            self._update()

    def _push(self) -> bool:
        """Decrypt into one buffer of the sink and push it; without bytes, push the end if there is one."""
        if self._over or not self._more:
            return False
        size = self._decrypt(self.sink.get_buffer(-1))
        if self._outgoing.pending:
            self._carry()  # an answer to the peer, such as a new key, or an alert
        if size:
            self.sink.buffer_updated(size)
            return True
        end = self._end
        if end is None:
            return False
        self._over = True
        self._update()
        if isinstance(end, ssl.SSLZeroReturnError) or (self._truncation_is_end and isinstance(end, ssl.SSLEOFError)):
            self.sink.eof_received()
        else:
            self.sink.connection_lost(end)
        return True

    def _decrypt(self, buffer: memoryview) -> int:
        """Fill the buffer with decrypted bytes, and store what ends them."""
        size, filled, incoming = len(buffer), 0, self._incoming
        if self._plain:
            filled = min(len(self._plain), size)
            buffer[:filled] = self._plain[:filled]
            self._plain = self._plain[filled:]
        read: Callable[[int, memoryview], int] = self.tls.read  # type: ignore[assignment]  # with a buffer
        try:
            # Asking the engine once too often costs an exception.
            while filled < size and (incoming.pending or not filled):
                received = read(size - filled, buffer[filled:] if filled else buffer)
                if not received:
                    raise ssl.SSLZeroReturnError
                filled += received
        except ssl.SSLWantReadError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more can be decrypted
            # A peer that has said goodbye may break the connection.
            if self._end is None or isinstance(error, ssl.SSLZeroReturnError):
                self._end = error.with_traceback(None)  # it refers to this frame, and so to the error itself
        self._more = filled == size or self._end is not None
        return filled

    # Sending

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Encrypt and send a part of the bytes; it counts as taken when all its ciphertext has left."""
        if not self._owed:
            try:
                self._owed = self.tls.write(joined(buffers, _MOST_TO_ENCRYPT))
            except ssl.SSLWantReadError:  # the peer wants to shake hands again
                if self._end is not None:
                    raise self._end from None
                self._must_hear = True
                self._carry()
                self._update()
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
        """Send the engine's own bytes; no caller waits for that."""
        try:
            self._flush()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._broken = error  # the next send meets it
            self._unsent = b""
        if self._unsent:
            self._update()

    def watch_writing(self, wanted: bool) -> None:
        """Watch the transport below: for writing, or for reading if sending waits for that."""
        self._writing = wanted
        self._update()

    def resume_writing(self) -> None:
        """Send the remaining ciphertext, and let the sink continue."""
        if self._shaking is not None:
            self._shake()  # it fails if the peer takes no more
        else:
            self._carry()
        self._update()
        if self._writing:
            self.sink.resume_writing()

    def _update(self) -> None:
        """Ask the transport below for what this one needs; see the table above."""
        wants_to_hear = self._shaking is not None or self._must_hear or (self._reading and not self._over)
        if wants_to_hear and not self._is_flooded():
            self._inner.resume_reading()
        else:
            self._inner.pause_reading()
        self._inner.watch_writing(bool(self._unsent) or (self._writing and not self._must_hear))

    def _is_flooded(self) -> bool:
        """Tell whether the peer takes none of the alerts that it provokes, one for each attempt to renegotiate.

        Where data waits to be sent, this is more than can wait at a time.
        """
        return self._outgoing.pending > _MOST_OF_ENGINE

    # The end

    def shutdown(self) -> None:
        """Send close_notify, so that the peer knows that nothing was truncated. Receiving continues."""
        # The engine would take unread data for an error, so it must see none.
        if size := self.tls.pending():
            self._plain += self.tls.read(size)
        hidden = self._incoming.read()
        with suppress(ssl.SSLError):  # the peer has not said goodbye, as usual; or we have said it already
            self.tls.unwrap()
        self._incoming.write(hidden)
        self._flush()

    def discard(self) -> None:
        """Discard bytes that have arrived below: a server's session tickets, for instance."""
        self._inner.discard()

    def close(self) -> None:
        """Close the transport below; a handshake under way fails."""
        self._reading = self._writing = self._must_hear = False
        self._unsent = b""
        if self._shaking is not None:
            self._end_handshake(ConnectionAbortedError(errno.ECONNABORTED, "closed during the TLS handshake"))
        self._inner.close()
        self.sink = None  # type: ignore[assignment]  # as `PolledTransport.stop_watching`
