"""Streams and servers for code without an event loop: every call waits in the thread that makes it.

A `Stream` is an `IOStream` for use from other threads. One background thread runs the event loop of all
streams of the process; it starts with the first, and a call here is the call there, awaited from outside::

     your threads                               the background thread
    ┌────────────────┐   call, then wait        ┌──────────────────────────────┐
    │ Stream.receive │ ───────────────────────► │ IOStream.read                │
    │ Stream.send    │ ◄─────────────────────── │ IOStream.send                │
    └───────┬────────┘   frame, or its error    └───────┬──────────────────────┘
            └───── frames that are cut ahead: popped from its decoder, with no call

So everything true of an `IOStream` is true here: addresses, TLS, limits, errors, and that a read that takes
too long has consumed nothing. A call to the background thread takes two switches of threads, some 50 us.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, Protocol, Self, Unpack, overload

from framestream import net
from framestream._events import events
from framestream.errors import FramestreamError, FrameTooLarge, PayloadError, StreamBusy, because
from framestream.framer import Framer, ReadCondition
from framestream.iterate import F, T, condition_of
from framestream.net.connect import ConnectOptions
from framestream.net.serve import ServeOptions, check_handler
from framestream.net.sockets import on_failure, open_stream
from framestream.stream.options import StreamOptions
from framestream.stream.stream import Condition, IOStream, ReadBy, ReadLimits, SendFramer, StreamStats
from framestream.transport import PipeTransport, Transport

__all__ = ["ProcessStream", "Server", "Stream", "connect", "framed", "serve"]


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int: ...


MAX_CONNECTIONS: Final = 1000
"""The most connections a server handles at once by default, since each has a thread."""


# By process: a forked one needs its own. A signal handler may come here while the thread it interrupts is here.
_locks: Final[dict[int, threading.RLock]] = {}
_loops: Final[dict[int, asyncio.AbstractEventLoop]] = {}


def _background() -> asyncio.AbstractEventLoop:
    """Return the loop of this process; a thread runs it as long as the process lives."""
    process = os.getpid()
    with _locks.setdefault(process, threading.RLock()):
        if (loop := _loops.get(process)) is None:
            loop = asyncio.new_event_loop()
            with on_failure(loop.close):
                threading.Thread(target=_run_on, args=[loop], name="framestream", daemon=True).start()
            _loops[process] = loop  # only now: without its thread, calls would wait for ever
        return loop


def _run_on(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop for ever: a callback that ends the program ends the call that waits for it."""
    while True:
        with suppress(SystemExit, KeyboardInterrupt):  # the call raises it, too
            loop.run_forever()


def _run(loop: asyncio.AbstractEventLoop, function: Callable[[], Awaitable[T]]) -> T:
    """Call a function in that loop and return what it is awaited for; an interrupted wait cancels it."""
    try:
        is_inside = asyncio.get_running_loop() is loop
    except RuntimeError:
        is_inside = False
    if is_inside:
        raise RuntimeError("a callback cannot wait for a stream, which waits for the callback; use a thread")
    if loop in _loops.values() and loop is not _loops.get(os.getpid()):
        raise RuntimeError("this was opened before this process was forked, and no thread runs it here: open another")
    # Instead of a concurrent Future: Ctrl-C may leave that one's lock locked, and then the loop waits for ever.
    done = threading.Lock()
    done.acquire()
    tasks: list[asyncio.Task[None]] = []
    answers: list[T] = []
    errors: list[BaseException] = []

    async def call() -> None:
        try:
            answers.append(await function())
        except BaseException as error:  # noqa: BLE001  # the waiting thread raises it
            errors.append(error)
        finally:
            tasks.clear()  # what a task's end does must not be done, and interrupted, in the waiting thread
            done.release()

    loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(call())))
    try:
        done.acquire()
    except BaseException:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
        raise
    if errors:
        raise errors.pop()
    return answers.pop()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """Call a function in that loop, where nothing changes meanwhile, and return its result."""

    async def call() -> T:
        return function()

    return _run(loop, call)


class Stream(Generic[F]):
    """Read and write frames on a connection; every call waits in the thread that makes it.

    One thread receives at a time: another gets a `StreamBusy`. Any number of threads may send: each frame
    leaves whole, in the order of the calls. Any may close the stream: threads that wait for it get a
    `StreamClosed`. Functions given as options, such as `on_payload_error`, run in the background and must not
    call a stream.

    ``for frame in stream`` is ``stream.frames()``, and ``with stream:`` closes it.

    Args:
        stream: the stream in the background; `connect`, `serve` and `framed` make both.
    """

    def __init__(self, stream: IOStream[F]) -> None:
        self._stream = stream
        self._turn: list[None] = [None]  # empty while a thread receives
        # What Ctrl-C may leave behind: a call that is not done, its task, and what that has received: for which
        # condition, and a frame or an error.
        self._is_done = True
        self._reading: asyncio.Task[Any] | None = None
        self._unclaimed: tuple[ReadCondition[Any] | None, Any, FramestreamError | None] | None = None

    def __repr__(self) -> str:
        return f"<blocking.Stream {self.peer} {'closed' if self.closed() else 'open'}>"

    def _run(self, function: Callable[[], Awaitable[T]]) -> T:
        return _run(self._stream.loop, function)

    def _call(self, function: Callable[[], T]) -> T:
        return _call(self._stream.loop, function)

    # Receiving

    @overload
    def receive(self, condition: None = ..., **limits: Unpack[ReadLimits]) -> F: ...
    @overload
    def receive(self, condition: ReadBy[T], **limits: Unpack[ReadLimits]) -> T: ...
    def receive(self, condition: Condition[Any] = None, **limits: Any) -> Any:
        """Return the next frame, waiting for it if needed.

        It consumes exactly the frame; the bytes after it are for the next call, with any condition. Ctrl-C, or what
        else a signal raises meanwhile, loses nothing: the next call continues.

        Args:
            condition: what the frame is: a read condition, name or spec string; the stream's own framer if
                left out.
            limits: see `ReadLimits`; with ``timeout=0`` it takes only bytes that have arrived.

        Raises:
            FramingError, FrameTooLarge, IncompleteFrame, PayloadError, StreamClosed: as `IOStream.read`.
            StreamTimeout: the time is over; nothing is consumed, and the stream is usable.
            StreamBusy: another thread receives; or a call for another condition was interrupted as its frame
                came, and has to be repeated first.
        """
        chosen = self._chosen(condition)
        return self._receive(chosen, lambda: self._stream.read(chosen, **limits), is_plain=not limits)

    @overload
    def frames(self, condition: None = ...) -> Iterator[F]: ...
    @overload
    def frames(self, condition: ReadBy[T]) -> Iterator[T]: ...
    def frames(self, condition: Condition[Any] = None) -> Iterator[Any]:
        """Iterate over frames until the stream ends cleanly.

        Leaving the loop is safe at any point: the next call begins with the next frame. Raises the same as
        `receive`; after an error the iterator continues if the stream can.
        """
        chosen = self._chosen(condition)
        return _Frames(self, self._stream.frames(chosen), chosen)

    def __iter__(self) -> Iterator[F]:
        return self.frames()

    def _chosen(self, condition: Condition[Any]) -> ReadCondition[Any] | None:
        return self._stream.framer if condition is None else condition_of(condition)

    def _receive(
        self,
        condition: ReadCondition[Any] | None,
        read: Callable[[], Awaitable[Any]],
        *,
        is_plain: bool = True,
    ) -> Any:
        # Between two calls, Python interrupts nothing. So what must happen as one here does without calls.
        try:
            del self._turn[0]
        except IndexError:
            raise StreamBusy("another thread is receiving") from None
        try:
            if is_plain and events.frame_received is None and self._is_done:
                decoder = self._stream.receiver.decoder
                # The background thread does not touch these while no read is under way.
                ahead = decoder.ahead
                if ahead and decoder.condition is condition:
                    frame = ahead[-1]
                    del ahead[-1]
                    return frame
            self._is_done = False
            _, frame, error = self._run(lambda: self._answer(condition, read))
            self._unclaimed = None
            self._is_done = True
            if error is None:
                return frame
            try:
                raise error
            finally:
                del error  # its traceback refers to this frame
        finally:
            self._turn += [None]

    async def _answer(self, condition: ReadCondition[Any] | None, read: Callable[[], Awaitable[Any]]) -> Any:
        while self._reading is not None:  # for a call that was interrupted
            self._reading.cancel()
            await asyncio.wait([self._reading])
        self._reading = asyncio.current_task()
        try:
            if self._unclaimed is None:
                self._unclaimed = condition, await read(), None
        except (FrameTooLarge, PayloadError) as error:
            self._unclaimed = condition, None, error
        finally:
            self._reading = None
        if self._unclaimed[0] != condition:
            raise StreamBusy(f"an interrupted call has received a frame of {self._unclaimed[0]}; repeat it first")
        return self._unclaimed

    # Sending

    @overload
    def send(self, frame: F, framer: None = ...) -> None: ...
    @overload
    def send(self, frame: T, framer: Framer[T] | str) -> None: ...
    def send(self, frame: Any, framer: SendFramer = None) -> None:
        """Send one frame, and wait until it has left.

        Raises:
            EncodeError: the frame has no encoding; nothing is sent.
            StreamClosed: the stream is closed, or the peer takes no more; with `write_timeout`, also if it
                takes too long.
        """

        async def send() -> None:
            self._stream.send(frame, framer)
            await self._stream.sender.flush()

        self._run(send)

    def write(self, data: Any) -> None:
        """Send bytes, one buffer or several, and wait until they have left. Errors are those of `send`."""
        self._run(lambda: self._stream.write(data))

    def send_eof(self) -> None:
        """End this half of the stream; receiving continues. Errors are those of `send`."""
        self._run(self._stream.write_eof)

    # Changing

    def framed(
        self,
        framer: ReadBy[T],
        send_framer: SendFramer = None,
        **options: Any,
    ) -> Stream[T]:
        """Set the framers for receiving and sending, and return the stream itself; see `IOStream.framed`."""
        self._call(lambda: self._stream.framed(framer, send_framer, **options))
        return self  # type: ignore[return-value]  # from here on it is

    def start_tls(self, context: ssl.SSLContext, **options: Any) -> None:
        """Continue under TLS; see `IOStream.start_tls`, which has the same options and errors."""
        self._run(lambda: self._stream.start_tls(context, **options))

    # The end

    def close(self, timeout: float | None = 10.0, *, linger: float = 0) -> None:
        """Send queued bytes, then close, within `timeout` seconds; see `IOStream.aclose`.

        A program of the stream has a few seconds to end; then it is terminated, and finally
        killed. Bytes that arrived before can still be received.
        """
        self._run(lambda: self._stream.aclose(timeout, linger=linger))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # State

    def closed(self) -> bool:
        """Tell whether the stream is closed."""
        return self._stream.closed()

    @property
    def error(self) -> BaseException | None:
        """The error that closed the stream; None while it is open and after an orderly close."""
        return self._stream.error

    @property
    def peer(self) -> str:
        """The other side's address, as text."""
        return self._stream.peer

    @property
    def leftover(self) -> bytes:
        """A copy of all bytes that have arrived and are not received yet; nothing is consumed."""
        return self._call(lambda: self._stream.leftover)

    @property
    def stats(self) -> StreamStats:
        """A copy of the counters."""
        return self._call(lambda: self._stream.stats)


class ProcessStream(Stream[F]):
    """A stream to a program: it sends to its standard input, and receives from its standard output."""

    _stream: net.ProcessStream

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._stream.pid

    @property
    def exit_code(self) -> int | None:
        """The program's exit status, or minus the signal that ended it; None while it runs."""
        return self._stream.exit_code


class _Frames(Iterator[T]):
    """The frames of a stream until it ends. Stopping at any point loses nothing."""

    def __init__(self, stream: Stream[Any], frames: Any, condition: ReadCondition[Any] | None) -> None:
        self._stream = stream
        self._frames = frames
        self._condition = condition

    def __next__(self) -> T:
        try:
            return self._stream._receive(self._condition, lambda: anext(self._frames))  # type: ignore[no-any-return]  # T
        except StopAsyncIteration:
            raise StopIteration from None


def _stand_for(stream: IOStream[T]) -> Stream[T]:
    return ProcessStream(stream) if isinstance(stream, net.ProcessStream) else Stream(stream)


@overload
def connect(
    url: str, *, framer: ReadCondition[T], send_framer: Framer[T] | None = ..., **options: Unpack[ConnectOptions]
) -> Stream[T]: ...
@overload
def connect(
    url: str,
    *,
    framer: Condition[Any] = ...,
    send_framer: SendFramer = ...,
    **options: Unpack[ConnectOptions],
) -> Stream[Any]: ...
def connect(url: str, **options: Any) -> Stream[Any]:
    """Return a stream to a URL: a host, a Unix socket, a serial port, a pipe, a program.

    URLs, options and errors are those of `framestream.connect`, but `half_open` is True by default:
    the stream is open until it is closed here. For ``exec:`` it is a `ProcessStream`.
    """
    options.setdefault("half_open", True)
    return _stand_for(_run(_background(), lambda: net.connect(url, **options)))


@overload
def framed(
    source: socket.socket | Transport | HasFileno,
    framer: ReadCondition[T],
    send_framer: Framer[T] | None = ...,
    **options: Unpack[StreamOptions],
) -> Stream[T]: ...
@overload
def framed(
    source: socket.socket | Transport | HasFileno,
    framer: Condition[Any] = ...,
    send_framer: SendFramer = ...,
    **options: Unpack[StreamOptions],
) -> Stream[Any]: ...
def framed(
    source: Any,
    framer: Condition[Any] = None,
    send_framer: SendFramer = None,
    **options: Unpack[StreamOptions],
) -> Stream[Any]:
    """Return a stream over a source that is already open.

    Args:
        source: a connected socket or a `Transport`: the stream owns it. Or a file with a ``fileno``, such as
            a serial port of pyserial: it is used until the stream is closed, and stays open.
        framer: what to receive and send by default.
        send_framer: what to send, if different.
        options: see `StreamOptions`; `half_open` is True by default.
    """
    options.setdefault("half_open", True)

    async def make() -> IOStream[Any]:
        if isinstance(source, socket.socket | Transport) or not hasattr(source, "fileno"):
            return IOStream(source, framer=framer, send_framer=send_framer, **options)
        descriptor = os.dup(source.fileno())
        with on_failure(os.close, descriptor):
            transport = PipeTransport(descriptor, descriptor)
        return open_stream(transport, framer=framer, send_framer=send_framer, **options)

    return Stream(_run(_background(), make))


class Server:
    """The result of `serve`: a context manager that drains and closes the server.

    Attributes:
        url: where to connect, with the port that the system chose for port 0.
        addresses: each address it listens on, as text.
        admin: the server of its health checks and metrics, if `serve` was asked for one.
    """

    admin: Server | None

    def __init__(self, server: net.Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self.url = server.url
        self.addresses = server.addresses
        self.admin = None if server.admin is None else Server(server.admin, loop)
        self._handlers: dict[signal.Signals, Any] = {}  # those before `close_on`

    @property
    def closed(self) -> bool:
        """True once it has stopped listening."""
        return self._server.closed

    @property
    def stats(self) -> net.ServerStats:
        """Counters since it began to listen."""
        return _call(self._loop, lambda: self._server.stats)

    @property
    def ready(self) -> bool:
        """True while it serves and welcomes new connections: not during a notice, nor while it drains."""
        return self._server.ready

    def close_on(self, *signals: signal.Signals, notice: float = 0) -> None:
        """Drain and close when the process gets one of these signals, such as ``signal.SIGTERM``.

        Call it in the main thread, where Python handles signals. `close`, called there too, puts the handlers
        back that were there before.

        Args:
            signals: the signals. Another one during the notice ends the notice.
            notice: seconds to be not `ready` first, but to go on accepting.

        Raises:
            ValueError: this is not the main thread.
        """
        _call(self._loop, lambda: self._server.close_on(notice=notice))  # it refuses a senseless notice

        def begin(*_: object) -> None:
            self._loop.call_soon_threadsafe(self._server.begin_to_close, notice)

        for number in signals:
            self._handlers.setdefault(number, signal.signal(number, begin))

    def serve_forever(self) -> None:
        """Wait until a signal or a thread closes the server; Ctrl-C closes it, too, and is raised again."""
        try:
            _run(self._loop, self._server.serve_forever)
        finally:
            self.close()

    def close(self, *, drain_timeout: float | None = None) -> None:
        """Stop listening, let connections finish what they have begun, and close those that take too long.

        Connections that wait between frames see the end of the stream at once. After `drain_timeout`
        seconds, by default that of `serve`, the remaining streams are closed. Do not call it in
        a handler: it waits for that one as well.
        """
        _run(self._loop, lambda: self._server.aclose(drain_timeout=drain_timeout))
        if threading.current_thread() is threading.main_thread():
            while self._handlers:
                signal.signal(*self._handlers.popitem())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def in_thread(function: Callable[[], T], name: str) -> T:
    """Return the result of a function that runs in a thread of its own, or raise its error.

    It is a daemon thread, so the process does not wait for it at the end. Cancelling leaves it running.

    Raises:
        RuntimeError: no thread can be started; or the function raised an exception that an event loop would
            take as its own, which is the cause.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # before the thread can be done: from now on it cannot be cancelled

    def work() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001  # the waiting coroutine raises it
            if isinstance(error, StopIteration) or not isinstance(error, Exception):
                error = because(RuntimeError(f"a thread raised {type(error).__name__}"), error)
            done.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)


async def _handle(handler: Callable[[Stream[Any]], object], stream: IOStream[Any]) -> None:
    """Run a blocking handler in a thread of its own; with its first argument, this is one for `framestream.serve`."""

    def work() -> None:
        with suppress(SystemExit):  # ends only the thread
            handler(_stand_for(stream))

    # A server that cancels this closes the stream, which ends the thread.
    await in_thread(work, f"connection of {stream.peer}")


def serve(
    handler: Callable[[Stream[T]], object],
    url: str,
    *,
    framer: Condition[T] = None,
    send_framer: SendFramer = None,
    **options: Unpack[ServeOptions],
) -> Server:
    """Listen on a URL and run ``handler(stream)`` in a thread for each connection.

    When the handler returns, the stream is closed. An exception in it is logged with the peer and ends only
    that connection. URLs, options and errors are those of `framestream.serve`; but `max_connections` is 1000
    by default.
    """
    check_handler(handler)
    if inspect.iscoroutinefunction(handler):
        raise TypeError("the handler is a coroutine function; serve it with framestream.serve")
    options.setdefault("max_connections", MAX_CONNECTIONS)
    loop = _background()
    run = partial(_handle, handler)
    return Server(_run(loop, lambda: net.serve(run, url, framer=framer, send_framer=send_framer, **options)), loop)
