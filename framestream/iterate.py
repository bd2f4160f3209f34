"""Front ends without a loop of ours: iterate over the frames of a file, a socket or an iterable.

`answers` is the loop that asks a decoder and feeds it until the stream ends; `AsyncFrames` is its
asynchronous counterpart.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from inspect import isasyncgen
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypedDict, Unpack

from framestream.decoder import END, NEED_DATA, End, FrameDecoder, NeedData, OnOversize
from framestream.errors import FrameTooLarge, PayloadError, StreamBusy, StreamClosed
from framestream.framer import ReadCondition, check_condition

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    F = TypeVar("F", default=Any)  # the frames of a stream with a framing of its own
    T = TypeVar("T", default=Any)  # the frames of a condition; anything, if it is only named
else:
    from typing import TypeVar

    F = TypeVar("F")
    T = TypeVar("T")

BytesLike: TypeAlias = "bytes | bytearray | memoryview"

# A recv of 256 KiB costs six times as much as one of 64 KiB: the large buffer is allocated and shrunk anew.
CHUNK_SIZE = 1 << 16

_STREAM: Final = "SOCK_STREAM"  # by name: importing `socket` takes a millisecond


class Readable(Protocol):
    """A binary file object."""

    def read(self, size: int, /) -> bytes | None: ...


class Receivable(Protocol):
    """A blocking socket."""

    def recv(self, size: int, /) -> bytes: ...


Source: TypeAlias = "str | os.PathLike[str] | BytesLike | Readable | Receivable | Iterable[BytesLike]"
AsyncSource: TypeAlias = "Callable[[], Awaitable[BytesLike]] | AsyncIterable[BytesLike]"


class Options(TypedDict, total=False):
    """The options of `iter_frames` and `aiter_frames`."""

    max_frame_size: int
    on_oversize: OnOversize
    on_discard: Callable[[FrameTooLarge], object] | None
    on_payload_error: Callable[[PayloadError], object] | None


def iter_frames(source: Source, condition: ReadCondition[T] | str, **options: Unpack[Options]) -> Iterator[T]:
    """Yield the frames of a blocking source until it ends.

    Frames are yielded as soon as they are complete; the source is read in chunks of at most 64 KiB, by
    its ``read1``, ``recv`` or ``read``, the first that it has.

    Args:
        source: a path, ``bytes``, a binary file object, a blocking stream socket, a serial port (as
            pyserial has them: it never ends), or an iterable of ``bytes``.
        condition: a read condition, or the name or spec string of one.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
        on_oversize: what happens to a frame above the limit, see `FrameDecoder`.
        on_discard: called with a `FrameTooLarge` for each frame that was discarded or truncated.
        on_payload_error: called with each `PayloadError`; the iteration then continues after the bad
            frame. Without it the error is raised and ends the iteration.

    Raises:
        FramingError: the bytes are not such frames; all frames before them have been yielded.
        IncompleteFrame: the source ended inside a frame.
        PayloadError: see `on_payload_error`.
        BlockingIOError: the source does not block, and has no bytes yet.
        TypeError: the source does not give bytes, or is a socket that keeps message boundaries.
        OSError: from the source.

    Every error ends the iteration, even one that the source could recover from, such as a timeout set on a
    socket: for that, use a decoder of your own.
    """
    decoder = FrameDecoder(**options)
    ask = partial(decoder.next_batch, condition_of(condition))
    return chain.from_iterable(answers(decoder, ask, _chunks(source)))


def answers(decoder: FrameDecoder, ask: Callable[[], T | NeedData | End], chunks: Iterable[BytesLike]) -> Iterator[T]:
    """Ask until the stream ends, feed the decoder when it needs data, and yield every other answer.

    Args:
        ask: a method of the decoder with its condition: ``partial(decoder.next_frame, condition)``.
    """
    source = iter(chunks)
    while (answer := ask()) is not END:
        if answer is NEED_DATA:
            feed(decoder, next(source, END))
        else:
            yield answer


def feed(decoder: FrameDecoder, chunk: BytesLike | End) -> None:
    """Give the decoder a chunk, or END for the end of the stream."""
    if chunk is END:
        decoder.receive_eof()
    else:
        decoder.receive_data(chunk)


def placed_frames(
    decoder: FrameDecoder,
    condition: ReadCondition[T],
    chunks: Iterable[BytesLike],
) -> Iterator[tuple[tuple[int, int], T]]:
    """Yield each frame with the stream offsets of its first byte and of the byte after it.

    Errors are those of `iter_frames`.
    """
    for frame in answers(decoder, partial(decoder.next_frame, condition), chunks):
        yield decoder.frame_span, frame


def condition_of(condition: ReadCondition[T] | str) -> ReadCondition[T]:
    """Return the condition itself, or the one that a name or spec string describes."""
    if isinstance(condition, str):
        # Only a name needs the registry, which imports pluggy.
        from framestream.registry import get_framer  # noqa: PLC0415

        return get_framer(condition)
    check_condition(condition)
    return condition


def _chunks(source: Any) -> Iterator[BytesLike]:
    if isinstance(source, (str, os.PathLike)):
        return _file_chunks(source)
    if isinstance(source, io.TextIOBase):
        raise TypeError("a text file gives no bytes: open it with mode 'rb', or pass its .buffer")
    if hasattr(source, "in_waiting"):
        return _serial_chunks(source)
    if hasattr(source, "recv") and (kind := getattr(getattr(source, "type", None), "name", _STREAM)) != _STREAM:
        raise TypeError(f"a {kind} socket keeps the boundaries of messages: pass the bytes of each by itself")
    for method in ("read1", "recv", "read"):
        if hasattr(source, method):
            return _read_chunks(getattr(source, method), source)
    with suppress(TypeError):  # not a buffer
        return iter((source if isinstance(source, bytes) else memoryview(source),))
    try:
        return iter(source)
    except TypeError as error:
        hint = "; use aiter_frames" if hasattr(source, "__aiter__") or callable(source) else ""
        kind = type(source).__name__
        raise TypeError(f"source is of type {kind}, which gives no bytes{hint}") from error


def _file_chunks(path: str | os.PathLike[str]) -> Iterator[BytesLike]:
    with open(path, "rb", buffering=0) as file:
        yield from _read_chunks(file.read, file)


def _read_chunks(read: Callable[[int], bytes | None], source: Any) -> Iterator[bytes]:
    raw: Any = getattr(source, "raw", None)
    while True:
        chunk = read(CHUNK_SIZE)
        if not chunk and (isinstance(source, io.BufferedRWPair) or _may_have_nothing_yet(raw)):
            chunk = source.read(1)  # None if there is nothing yet; ``read1`` gives ``b""`` for that as well
        if chunk is None:
            raise BlockingIOError(errno.EAGAIN, "the source does not block, and has nothing yet")
        if not chunk:
            return
        yield chunk


def _may_have_nothing_yet(raw: Any) -> bool:
    """Tell whether the buffer over this file may give ``b""`` before the end."""
    with suppress(AttributeError, OSError):  # it has no descriptor; or on Windows, where few can be asked
        return not os.get_blocking(raw.fileno())
    return False


def _serial_chunks(port: Any) -> Iterator[bytes]:
    """Yield what a serial port receives, for ever; a timeout without a byte means nothing."""
    if getattr(port, "timeout", None) == 0:
        raise ValueError("the serial port has timeout=0, so it never waits; set None, or some seconds")
    while True:
        # Asking for more bytes than have arrived would wait for the timeout.
        yield port.read(min(max(port.in_waiting, 1), CHUNK_SIZE))


def aiter_frames(source: AsyncSource, condition: ReadCondition[T] | str, **options: Unpack[Options]) -> AsyncFrames[T]:
    """Yield the frames of an asynchronous source, under any event loop (asyncio, trio, anyio).

    Args:
        source: ``await source()`` gives the next bytes, ``b""`` at the end of the stream; or something that
            has ``await source.read(size)``; or an asynchronous iterable of ``bytes``.

    The other arguments and the errors are those of `iter_frames`; see `AsyncFrames` for cancellation.
    """
    return AsyncFrames(FrameDecoder(**options), condition_of(condition), source)


class AsyncFrames(AsyncIterator[T]):
    """The frames of an asynchronous source.

    An error does not end it. Cancelling a pending step, as ``asyncio.wait_for(anext(frames), 1)`` does, loses
    no received byte. Whether the next step can continue depends on the source:

    - A function, or an object with its own ``read`` or ``__anext__``, is called again. Nothing is lost if
      cancelling it loses nothing, which is true of queues, streams and sockets.
    - Any exception ends an asynchronous generator, and a cancellation is one. What it has yielded is
      not lost, but the next step that needs more raises `StreamClosed`, because it cannot know whether the
      stream was complete. Pass the function that the generator awaits instead.

    Raises:
        StreamBusy: another task waits for the next frame.
        StreamClosed: see above; `real_error` is the exception that ended the generator.
    """

    def __init__(self, decoder: FrameDecoder, condition: ReadCondition[T], source: AsyncSource) -> None:
        self._decoder = decoder
        self._ask: Callable[[], list[T] | NeedData | End] = partial(decoder.next_batch, condition)
        self._ready: Iterator[T] = iter(())
        self._receive = _receiver(source)
        self._generator = source if isasyncgen(source) else None
        self._ended: BaseException | None = None  # what ended the generator
        self._is_waiting = False

    async def __anext__(self) -> T:
        for frame in self._ready:
            return frame
        while (frames := self._ask()) is NEED_DATA:
            feed(self._decoder, await self._next_chunk())
        if frames is END:
            raise StopAsyncIteration
        self._ready = iter(frames)
        return next(self._ready)

    async def _next_chunk(self) -> BytesLike | End:
        if self._is_waiting:
            raise StreamBusy("another task waits for the next frame")
        if self._ended is not None:
            reason = f"{type(self._ended).__name__} ended the source, an asynchronous generator"
            raise StreamClosed(reason, real_error=self._ended)
        self._is_waiting = True
        try:
            return await self._receive()
        except BaseException as error:
            if self._generator is not None and self._generator.ag_frame is None:
                self._ended = error
            raise
        finally:
            self._is_waiting = False

    async def aclose(self) -> None:
        """End the iteration, and close a source that is an asynchronous generator; others stay open."""
        self._ready, self._ask = iter(()), lambda: END
        if self._generator is not None:
            await self._generator.aclose()


def _receiver(source: Any) -> Callable[[], Awaitable[BytesLike | End]]:
    """Return an awaitable for the next bytes; it gives END at the end of the stream."""
    if isinstance(source, AsyncIterable) and not hasattr(source, "read"):
        return partial(anext, aiter(source), END)
    # The lines that a StreamReader yields have their own length limit.
    receive = partial(source.read, CHUNK_SIZE) if hasattr(source, "read") else source
    if not callable(receive):
        kind = type(source).__name__
        raise TypeError(f"source is of type {kind}; it must be a function to await, or yield asynchronously")

    async def chunk_or_end() -> BytesLike | End:
        chunk: BytesLike = await receive()
        return END if chunk == b"" else chunk

    return chunk_or_end
