"""Transports over descriptors that the loop can watch: sockets, pipes, terminals, files."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final, Literal, TypeAlias
from weakref import finalize

from framestream.errors import printable
from framestream.transport.base import MOST_BUFFERS, Buffer, PolledTransport

Kind: TypeAlias = Literal["reader", "writer"]
Socket: TypeAlias = socket.socket

# Bytes from a peer that keeps sending are discarded up to this.
_MOST_TO_DISCARD: Final = 1 << 22
_DISCARDED_AT_ONCE: Final = 1 << 16


class SocketTransport(PolledTransport):
    """A connected stream socket: TCP or Unix. The transport owns the socket from here on.

    TCP does not wait for more before it sends (TCP_NODELAY): bytes written in one pass of the loop leave
    together anyway.

    Args:
        sock: the socket.
        peer: the peer's address as text, if known; otherwise the system is asked.
    """

    __slots__ = ("_sent", "peer", "socket")

    peer: str
    socket: Socket

    def __init__(self, sock: Socket, peer: str = "") -> None:
        super().__init__()
        self._sent = False  # since the loop has told of bytes last
        prepare_socket(sock)
        self.socket = sock
        self.peer = peer or address_of_peer(sock)

    # The socket's own methods, kept for each stream, would be a call less (0.7 % of an echo), and 160 bytes more.
    def receive_into(self, buffer: memoryview) -> int:
        """Receive straight into the buffer."""
        return self.socket.recv_into(buffer)

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Send with one system call, however many buffers there are."""
        self._sent = True
        if len(buffers) == 1:
            return self.socket.send(buffers[0])
        return self.socket.sendmsg(buffers[:MOST_BUFFERS])

    def watch_readable(self, callback: Callable[[], object] | None) -> None:
        """Register with the loop's selector."""
        if callback is not None and _forgets_errors(self.loop):
            callback = self  # a bound method would take 64 bytes more of each idle connection
        watch(self.loop, "reader", self.socket.fileno(), callback)

    def __call__(self) -> None:
        """Receive; called by a loop that forgets errors."""
        # Bytes that arrived together with a reset must not hide it. What was sent meanwhile has met it already.
        self._sent = False
        self.receive_now()
        if self._reading and not self._sent and _has_error(self.socket):
            self.pause_reading()
            self.resume_reading()

    def watch_writable(self, callback: Callable[[], object] | None) -> None:
        """Register with the loop's selector."""
        watch(self.loop, "writer", self.socket.fileno(), callback)

    def shutdown(self) -> None:
        """Shut the sending half of the socket down."""
        self.socket.shutdown(socket.SHUT_WR)

    def discard(self) -> None:
        """Discard received bytes."""
        discard_received(self.socket)

    def close(self) -> None:
        """Close the socket."""
        self.stop_watching()
        self.socket.close()


class PipeTransport(PolledTransport):
    """Read from one descriptor and write to another, or to the same one: pipes, FIFOs, terminals, files.

    Either may be left out. The transport owns them from here on and makes them non-blocking: see `take_over`.

    Args:
        read_fd: where to read; also a regular file.
        write_fd: where to write.
        raw: make a terminal pass bytes unchanged, until the transport is closed.

    Raises:
        OSError, ValueError: a descriptor is not open, or a socket that keeps message boundaries; neither is changed.
    """

    __slots__ = ("__weakref__", "_always", "_give_back", "read_fd", "write_fd")

    def __init__(self, read_fd: int | None, write_fd: int | None = None, *, raw: bool = False) -> None:
        super().__init__()
        descriptors = dict.fromkeys(fd for fd in (read_fd, write_fd) if fd is not None)  # each once
        for fd in descriptors:
            _check_open(fd)
        with ExitStack() as unless_taken:
            self._give_back = {fd: unless_taken.callback(finalize(self, take_over(fd, raw=raw))) for fd in descriptors}
            unless_taken.pop_all()
        self.read_fd = read_fd
        self.write_fd = write_fd
        self._always: dict[Kind, Readiness] = {}  # descriptors without polling, which never block

    def receive_into(self, buffer: memoryview) -> int:
        """Read straight into the buffer; a terminal whose other side is gone is at its end."""
        if self.read_fd is None:
            return 0
        try:
            return os.readv(self.read_fd, [buffer])
        except OSError as error:
            if error.errno == errno.EIO and stat.S_ISCHR(os.fstat(self.read_fd).st_mode):
                return 0
            raise

    def send(self, buffers: Sequence[Buffer]) -> int:
        """Write with one system call, however many buffers there are."""
        if self.write_fd is None:
            raise BrokenPipeError(errno.EPIPE, "there is nothing to write to")
        return os.writev(self.write_fd, buffers[:MOST_BUFFERS])

    def watch_readable(self, callback: Callable[[], object] | None) -> None:
        """Register with the loop's selector."""
        # A write-only descriptor is watched, too: it becomes readable when its reader is gone.
        fd = self.write_fd if self.read_fd is None else self.read_fd
        self._watch("reader", fd, callback)

    def watch_writable(self, callback: Callable[[], object] | None) -> None:
        """Register with the loop's selector."""
        self._watch("writer", self.write_fd, callback)

    def _watch(self, kind: Kind, fd: int | None, callback: Callable[[], object] | None) -> None:
        if kind not in self._always:
            try:
                if fd is not None:
                    watch(self.loop, kind, fd, callback)
                return
            except PermissionError:
                # A write-only descriptor has no end to be read either.
                self._always[kind] = Readiness(lambda: kind == "writer" or self.read_fd is not None)
        self._always[kind].watch(self.loop, callback)

    def shutdown(self) -> None:
        """Close the descriptor for writing: this sends the end of a pipe."""
        if self.write_fd is None:
            return
        if self.write_fd == self.read_fd:
            raise OSError(errno.EOPNOTSUPP, "one descriptor for both directions cannot be half closed")
        if self.read_fd is None:  # this descriptor is watched for the end, and so that is there now
            was_reading = self._reading
            self.pause_reading()
            self._always["reader"] = Readiness(lambda: True)
            if was_reading:
                self.resume_reading()
        self._close(self.write_fd)
        self.write_fd = None

    def close(self) -> None:
        """Close both descriptors."""
        self.stop_watching()
        for fd in tuple(self._give_back):
            self._close(fd)
        self.read_fd = self.write_fd = None

    def _close(self, fd: int) -> None:
        self._give_back.pop(fd)()
        os.close(fd)


def _check_open(fd: int) -> None:
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        with socket.socket(fileno=os.dup(fd)) as sock:
            check_is_stream(sock)


def take_over(fd: int, *, raw: bool = False) -> Callable[[], object]:
    """Make a descriptor non-blocking, and a terminal `raw` if wanted; return a function that undoes it.

    An open file is shared by all processes that have the descriptor: the shell after us reads
    the same terminal. So pipes and terminals get an open file of our own if possible
    (Linux); then others notice nothing, even if this program is killed.
    """
    mode = os.fstat(fd).st_mode
    with ExitStack() as unless_taken:
        if os.get_blocking(fd) and not stat.S_ISREG(mode) and not _reopen(fd, mode):
            os.set_blocking(fd, False)
            unless_taken.callback(os.set_blocking, fd, True)
        if os.isatty(fd):
            unless_taken.callback(prepare_terminal(fd, raw=raw))
        changes = unless_taken.pop_all()

    def undo() -> None:
        with suppress(OSError):  # the other end of the terminal may be gone
            changes.close()

    return undo


def _reopen(fd: int, mode: int) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl  # noqa: PLC0415 - not everywhere

    # Other devices may be something new each time they are opened, as /dev/ptmx is (5:2).
    is_terminal = os.isatty(fd) and os.fstat(fd).st_rdev != os.makedev(5, 2)
    if not (is_terminal or stat.S_ISFIFO(mode)):
        return False
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND)
    try:
        own = os.open(f"/proc/self/fd/{fd}", flags | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # not allowed, or the pipe has no other end
        return False
    os.dup2(own, fd, os.get_inheritable(fd))
    os.close(own)
    return True


def prepare_terminal(fd: int, *, raw: bool) -> Callable[[], object]:
    """Make a terminal without input report nothing rather than 0 bytes; return a function that undoes it.

    Programs that poll by time set it so (VMIN is 0), and a stream would take it for the end. With `raw`,
    bytes pass unchanged: no lines, no echo, no flow control by bytes. Speed, parity and hardware flow control
    stay.
    """
    import termios  # noqa: PLC0415 - not everywhere

    def set_mode(attributes: list[Any]) -> None:
        try:
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        except termios.error as error:  # no OSError, but with the same arguments
            raise OSError(*error.args) from error

    before = termios.tcgetattr(fd)
    received, sent, control, local, *speeds, characters = before
    if raw:
        received = sent = local = 0
    elif local & termios.ICANON or characters[termios.VMIN]:
        return lambda: None
    characters = [*characters]
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    set_mode([received, sent, control, local, *speeds, characters])
    return partial(set_mode, before)


class Readiness:
    """Does for a transport without a descriptor what the loop's selector does for one.

    The watcher is called once in every pass of the loop in which `is_ready` is true, until it stops
    watching. Code that makes the transport ready calls `notify`.
    """

    __slots__ = ("_callback", "_handle", "_is_ready", "_loop")

    _loop: asyncio.AbstractEventLoop

    def __init__(self, is_ready: Callable[[], bool]) -> None:
        self._is_ready = is_ready
        self._callback: Callable[[], object] | None = None
        self._handle: asyncio.Handle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], object] | None) -> None:
        """Call `callback` while ready; with None, stop."""
        self._loop = loop
        self._callback = callback
        if callback is not None:
            self.notify()
        elif self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def notify(self) -> None:
        """Call the watcher in the next pass of the loop, if there is one and it is ready."""
        if self._callback is not None and self._handle is None and self._is_ready():
            self._handle = self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._handle = None
        if self._callback is not None and self._is_ready():
            self._callback()
        self.notify()


def watch(loop: asyncio.AbstractEventLoop, kind: Kind, fd: int, callback: Callable[[], object] | None) -> None:
    """Register a callback with the loop's selector instead of the one before; with None, stop.

    Raises:
        NotImplementedError: the loop has no selector; says what to do.
    """
    if callback is None:
        getattr(loop, f"remove_{kind}")(fd)
        return
    try:
        getattr(loop, f"add_{kind}")(fd, callback)
    except NotImplementedError:
        what = f"{type(loop).__name__} cannot watch descriptors"
        raise NotImplementedError(f"{what}: use transport_over(sock), and start_tls for TLS") from None


def _forgets_errors(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether the loop calls a reader just once for a descriptor that has an error, as libuv does."""
    uvloop = sys.modules.get("uvloop")
    return uvloop is not None and isinstance(loop, uvloop.Loop)


def _has_error(sock: socket.socket) -> bool:
    """Tell whether the socket has an error which a later receive will raise; it still will."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def prepare_socket(sock: socket.socket) -> None:
    """Make a socket ready for a transport: non-blocking, and TCP sends without waiting for more.

    Raises:
        ValueError: it is no stream socket, see `check_is_stream`.
    """
    check_is_stream(sock)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        return  # not TCP; or a peer that is gone, which the first read notices


def check_is_stream(sock: socket.socket) -> None:
    """Raise ``ValueError`` for a socket that keeps message boundaries: reads would cut messages off."""
    # The attribute `type` makes a member of an enumeration each time, in four calls.
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_STREAM:
        kind = getattr(sock.type, "name", sock.type)
        raise ValueError(
            f"a stream needs a socket of type SOCK_STREAM, not {kind}, which keeps the borders of messages: "
            "receive those yourself, and pass each one to iter_frames or a FrameDecoder"
        )


def discard_received(sock: socket.socket) -> None:
    """Discard the bytes that a socket has received.

    A system that closes a socket over unread bytes resets the connection, and bytes sent and still
    under way are lost.
    """
    with suppress(OSError, ValueError):  # nothing has arrived; a TLS socket may not support it
        for _ in range(_MOST_TO_DISCARD // _DISCARDED_AT_ONCE):
            if not sock.recv(_DISCARDED_AT_ONCE):
                return


def address_of_peer(sock: socket.socket) -> str:
    """Return the printable address of a socket's peer; empty if the system has forgotten it."""
    try:
        return printable(format_address(sock.getpeername()))
    except OSError:
        return ""


def format_address(address: Any) -> str:
    """Return a socket address as text: ``host:port``, ``[host]:port`` or a path."""
    if isinstance(address, tuple):
        host, port = map(str, address[:2])  # a virtual machine is a number
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address) or "unnamed"
