"""Concurrent work over one stream: requests whose answers come in any order, and handlers of frames."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterable
from itertools import count, islice
from typing import Any, Final, Generic, Self, TypeVar

from framestream.errors import StreamBusy, StreamClosed, check_count, check_function, check_seconds, printable
from framestream.stream.reads import Frames
from framestream.stream.stream import IOStream
from framestream.stream.timeouts import within

__all__ = ["Requests", "handle_frames"]

T = TypeVar("T")

logger = logging.getLogger("framestream")

_LOST: Final[Any] = object()  # instead of an answer: none will come


class Requests(Generic[T]):
    """Send requests over one stream while others wait for their answers, which may come in any order.

    ::

        async with Requests(stream, lambda answer: answer["id"], timeout=10) as requests:
            answer = await requests.ask(lambda number: {"id": number, "method": "ping"})

    During the block it reads the stream, so no other read is possible. At its end, and at the end of the
    stream, every waiting request gets a `StreamClosed`.

    Args:
        stream: a stream with a framing of its own, see `IOStream.framed`.
        id_of: called with each frame that arrives; returns the id of the request that it answers, or None if
            it answers none. An exception in it closes the stream; so does a frame that cannot be decoded,
            unless the stream has `on_payload_error`.
        most: the most requests under way; further ones wait until one is done.
        timeout: seconds for each request, including the wait for its turn.
        ids: an endless source of ids for requests; those of requests under way are left out.
        on_other: called with each frame that answers no request under way: a notification, a request by the
            peer, an answer that comes too late. Without it, the first such frame is logged. An exception in it
            closes the stream.
    """

    def __init__(
        self,
        stream: IOStream[T],
        id_of: Callable[[T], Hashable | None],
        *,
        most: int = 64,
        timeout: float | None = None,
        ids: Iterable[Any] | None = None,
        on_other: Callable[[T], object] | None = None,
    ) -> None:
        check_function("id_of", id_of)
        check_function("on_other", on_other, optional=True)
        check_count("most", most, least=1)
        check_seconds("timeout", timeout, optional=True)
        self._stream = stream
        self._id_of = id_of
        self._room = asyncio.Semaphore(most)
        self._timeout = timeout
        self._ids = iter(count(1) if ids is None else ids)
        self._on_other = on_other or self._log
        self._waiting: dict[Hashable, asyncio.Future[T]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._error: Exception | None = None  # the error that ended the reading

    async def ask(self, request: Callable[[Any], Any], *, timeout: float | None = None) -> T:
        """Send a request and return the frame that answers it.

        Cancelling stops waiting and affects no other request; bytes already sent stay sent.

        Args:
            request: called with a fresh id; returns the frame to send.
            timeout: seconds for this request, instead of the default.

        Raises:
            StreamTimeout: there was no answer in time.
            StreamClosed: no answer will come; ``real_error`` tells why, unless the stream just ended.
            EncodeError, BufferFull: the request cannot be sent.
            ValueError: `ids` has no id left for it.
            TypeError: `request` is the frame itself, and not a function that makes it.
        """
        check_function("request", request)
        check_seconds("timeout", timeout, optional=True)
        limit = self._timeout if timeout is None else timeout
        async with within(limit, "no answer"), self._room:
            return await self._answer(request)

    async def _answer(self, request: Callable[[Any], Any]) -> T:
        if self._reading is None or self._reading.done():
            raise self._lost()
        number = self._fresh_id()
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._stream.send(request(number))
            answer: Any = await waiting
        finally:
            del self._waiting[number]
        if answer is _LOST:
            raise self._lost()
        return answer  # type: ignore[no-any-return]  # T

    def _fresh_id(self) -> Hashable:
        # If they come round, so many are all there are, or one of them is free.
        for number in islice(self._ids, len(self._waiting) + 1):
            if number not in self._waiting:
                return number  # type: ignore[no-any-return]  # whatever `ids` is made of
        raise ValueError(
            "ids has no id left for this request: it must go on for ever, with more of them than `most`, as "
            "itertools.cycle(range(256)) does"
        )

    def _lost(self) -> StreamClosed:
        return StreamClosed("stream ended before the answer came", real_error=self._error or self._stream.error)

    async def _read(self, frames: Frames[T]) -> None:
        try:
            async for frame in frames:
                self._take(frame)
        except Exception as error:  # noqa: BLE001 - all waiting and later requests raise it
            self._error = error
            self._stream.close(error)
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(_LOST)

    def _take(self, frame: T) -> None:
        number = self._id_of(frame)
        waiting = None if number is None else self._waiting.get(number)
        if waiting is None or waiting.done():
            self._on_other(frame)
        else:
            waiting.set_result(frame)

    def _log(self, frame: T) -> None:
        self._on_other = lambda _: None  # or a peer would decide how long the log gets
        what = printable(f"{frame!r:.100}")
        logger.warning("%s: no request waits for %s", self._stream.peer, what, extra={"stream": self._stream})

    async def __aenter__(self) -> Self:
        frames = self._stream.frames()
        if self._stream.reading():
            raise StreamBusy("a read is under way; requests read the stream themselves")
        self._reading = asyncio.create_task(self._read(frames))
        try:
            await asyncio.sleep(0)  # by then it reads: another read is refused, and does not fail this one
        except asyncio.CancelledError:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait([self._reading])


async def handle_frames(
    stream: IOStream[T], handler: Callable[[T], Coroutine[Any, Any, object]], *, most: int = 64
) -> None:
    """Call a coroutine function for each frame, in a task each; return when the stream and they have ended.

    At most `most` of them run at once. Meanwhile no further frame is read, so the peer is slowed down.
    Cancelling cancels them all, and so does the first exception; none outlives this call.

    Raises:
        Exception: the exception of the first handler to fail, or that of `IOStream.read`.
    """
    check_function("handler", handler)
    check_count("most", most, least=1)
    room = asyncio.Semaphore(most)
    try:
        async with asyncio.TaskGroup() as tasks:
            await room.acquire()
            async for frame in stream:
                tasks.create_task(handler(frame)).add_done_callback(lambda _: room.release())
                await room.acquire()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
