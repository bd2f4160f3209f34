"""Front ends without a loop of ours: iterate over the frames of a file, a socket or an iterable.

`drive` is the loop that asks a decoder until the stream ends. It does not feed: it yields NEED_DATA, and
whoever runs it feeds in its own way, blocking or awaiting, before it goes on.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol, TypeAlias, TypedDict, TypeVar, Unpack, overload

from framestream.decoder import END, NEED_DATA, End, FrameDecoder, NeedData, OnOversize
from framestream.errors import FrameTooLarge, PayloadError
from framestream.framer import ReadCondition

T = TypeVar("T")
BytesLike: TypeAlias = "bytes | bytearray | memoryview"

# A recv of 256 KiB costs six times one of 64 KiB, because the large buffer is allocated and shrunk anew.
CHUNK_SIZE = 1 << 16


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


@overload
def iter_frames(source: Source, condition: ReadCondition[T], **options: Unpack[Options]) -> Iterator[T]: ...
@overload
def iter_frames(source: Source, condition: str, **options: Unpack[Options]) -> Iterator[Any]: ...
def iter_frames(
    source: Source,
    condition: ReadCondition[Any] | str,
    **options: Unpack[Options],
) -> Iterator[Any]:
    """Yield the frames of a blocking source until it ends.

    Frames are yielded as soon as they are complete; the source is read in chunks of at most 64 KiB, by
    whichever of ``read1``, ``recv`` and ``read`` it has.

    Args:
        source: a path, ``bytes``, a binary file object, a blocking socket, or an iterable of ``bytes``.
        condition: a read condition, or the name or spec string of one.
        max_frame_size: limit on a frame's payload in bytes, for conditions without their own.
        on_oversize: what happens to a frame above the limit, see `FrameDecoder`.
        on_discard: called with a `FrameTooLarge` for each frame that was discarded or truncated.
        on_payload_error: called with each `PayloadError`, and the iteration goes on after the bad
            frame; without it the error is raised and ends the iteration.

    Raises:
        FramingError: the bytes are no such frames; everything before them has been yielded.
        IncompleteFrame: the source ended inside a frame.
        PayloadError: see `on_payload_error`.
    """
    return _frames(FrameDecoder(**options), condition_of(condition), _chunks(source))


def drive(ask: Callable[[], T | NeedData | End]) -> Iterator[T | NeedData]:
    """Ask until the answer is END, and yield every other answer; feed the decoder after NEED_DATA.

    Args:
        ask: a method of a decoder with its condition: ``partial(decoder.next_frame, condition)``.
    """
    while (answer := ask()) is not END:
        yield answer


def feed(decoder: FrameDecoder, chunk: BytesLike | None) -> None:
    """Give a chunk to the decoder; None is the end of the stream."""
    if chunk is None:
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
    source = iter(chunks)
    for frame in drive(partial(decoder.next_frame, condition)):
        if frame is NEED_DATA:
            feed(decoder, next(source, None))
        else:
            yield decoder.frame_span, frame


def _frames(
    decoder: FrameDecoder,
    condition: ReadCondition[T],
    chunks: Iterator[BytesLike],
) -> Iterator[T]:
    for frames in drive(partial(decoder.next_batch, condition)):
        if frames is NEED_DATA:
            feed(decoder, next(chunks, None))
        else:
            yield from frames


def condition_of(condition: ReadCondition[Any] | str) -> ReadCondition[Any]:
    """Return the condition itself, or the one that a name or spec string describes."""
    if isinstance(condition, str):
        # Only a name needs the registry, and with it pluggy.
        from framestream.registry.lookup import get_framer  # noqa: PLC0415

        return get_framer(condition)
    return condition


def _chunks(source: Any) -> Iterator[BytesLike]:
    if isinstance(source, (str, os.PathLike)):
        return _file_chunks(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return iter((source,))
    for method in ("read1", "recv", "read"):
        if hasattr(source, method):
            return _read_chunks(getattr(source, method))
    return iter(source)


def _file_chunks(path: str | os.PathLike[str]) -> Iterator[BytesLike]:
    with open(path, "rb", buffering=0) as file:
        yield from _read_chunks(file.read)


def _read_chunks(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while chunk := read(CHUNK_SIZE):
        yield chunk


@overload
def aiter_frames(
    source: AsyncSource, condition: ReadCondition[T], **options: Unpack[Options]
) -> AsyncIterator[T]: ...
@overload
def aiter_frames(source: AsyncSource, condition: str, **options: Unpack[Options]) -> AsyncIterator[Any]: ...
def aiter_frames(
    source: AsyncSource,
    condition: ReadCondition[Any] | str,
    **options: Unpack[Options],
) -> AsyncIterator[Any]:
    """Yield the frames of an asynchronous source, under any event loop (asyncio, trio, anyio).

    Args:
        source: ``await source()`` gives the next bytes, ``b""`` at the end of the stream; or an
            asynchronous iterable of ``bytes``.

    The other arguments and the errors are those of `iter_frames`. Cancelling a pending step loses no
    byte that was received, but it ends this iterator: a decoder of your own outlives a cancellation.
    """
    chunks = source if isinstance(source, AsyncIterable) else _received(source)
    return _aframes(FrameDecoder(**options), condition_of(condition), aiter(chunks))


async def _received(receive: Callable[[], Awaitable[BytesLike]]) -> AsyncIterator[BytesLike]:
    while chunk := await receive():
        yield chunk


async def _aframes(
    decoder: FrameDecoder,
    condition: ReadCondition[T],
    chunks: AsyncIterator[BytesLike],
) -> AsyncIterator[T]:
    for frames in drive(partial(decoder.next_batch, condition)):
        if frames is NEED_DATA:
            feed(decoder, await anext(chunks, None))
        else:
            for frame in frames:
                yield frame
