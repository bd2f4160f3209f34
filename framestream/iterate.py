"""Front ends without a loop of ours: iterate over the frames of a file, a socket or an iterable."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol, TypeAlias, TypeVar, overload

from framestream._signals import END, NEED_DATA, End, NeedData
from framestream.decoding._decoder import FrameDecoder
from framestream.decoding._oversize import DEFAULT_MAX_FRAME_SIZE, OnOversize
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


@overload
def iter_frames(
    source: Source,
    condition: ReadCondition[T],
    *,
    max_frame_size: int = ...,
    on_oversize: OnOversize = ...,
    on_discard: Callable[[FrameTooLarge], object] | None = ...,
    on_payload_error: Callable[[PayloadError], object] | None = ...,
) -> Iterator[T]: ...
@overload
def iter_frames(
    source: Source,
    condition: str,
    *,
    max_frame_size: int = ...,
    on_oversize: OnOversize = ...,
    on_discard: Callable[[FrameTooLarge], object] | None = ...,
    on_payload_error: Callable[[PayloadError], object] | None = ...,
) -> Iterator[Any]: ...
def iter_frames(
    source: Source,
    condition: ReadCondition[Any] | str,
    *,
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
    on_oversize: OnOversize = "raise",
    on_discard: Callable[[FrameTooLarge], object] | None = None,
    on_payload_error: Callable[[PayloadError], object] | None = None,
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
        on_payload_error: called with each `PayloadError`, and the iteration goes on behind the bad
            frame; without it the error is raised and ends the iteration.

    Raises:
        FramingError: the bytes are no such frames; everything before them has been yielded.
        IncompleteFrame: the source ended inside a frame.
        PayloadError: see `on_payload_error`.
    """
    decoder = FrameDecoder(max_frame_size=max_frame_size, on_oversize=on_oversize, on_discard=on_discard)
    return _frames(_chunks(source), condition_of(condition), decoder, on_payload_error)


def _frames(
    chunks: Iterator[BytesLike],
    condition: ReadCondition[T],
    decoder: FrameDecoder,
    on_payload_error: Callable[[PayloadError], object] | None,
) -> Iterator[T]:
    while True:
        frames = _next_batch(decoder, condition, on_payload_error)
        if frames is END:
            return
        if frames is NEED_DATA:
            _feed(decoder, next(chunks, None))
        else:
            yield from frames


def _next_batch(
    decoder: FrameDecoder,
    condition: ReadCondition[T],
    on_payload_error: Callable[[PayloadError], object] | None,
) -> list[T] | NeedData | End:
    while True:
        try:
            return decoder.next_batch(condition)
        except PayloadError as error:
            if on_payload_error is None:
                raise
            on_payload_error(error)


def _feed(decoder: FrameDecoder, chunk: BytesLike | None) -> None:
    if chunk is None:
        decoder.receive_eof()
    else:
        decoder.receive_data(chunk)


def condition_of(condition: ReadCondition[Any] | str) -> ReadCondition[Any]:
    """Return the condition itself, or the one that a name or spec string describes."""
    if isinstance(condition, str):
        # Only a name needs the registry.
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
    source: Callable[[], Awaitable[BytesLike]] | AsyncIterable[BytesLike],
    condition: ReadCondition[T],
    *,
    max_frame_size: int = ...,
    on_oversize: OnOversize = ...,
    on_discard: Callable[[FrameTooLarge], object] | None = ...,
    on_payload_error: Callable[[PayloadError], object] | None = ...,
) -> AsyncIterator[T]: ...
@overload
def aiter_frames(
    source: Callable[[], Awaitable[BytesLike]] | AsyncIterable[BytesLike],
    condition: str,
    *,
    max_frame_size: int = ...,
    on_oversize: OnOversize = ...,
    on_discard: Callable[[FrameTooLarge], object] | None = ...,
    on_payload_error: Callable[[PayloadError], object] | None = ...,
) -> AsyncIterator[Any]: ...
def aiter_frames(
    source: Callable[[], Awaitable[BytesLike]] | AsyncIterable[BytesLike],
    condition: ReadCondition[Any] | str,
    *,
    max_frame_size: int = DEFAULT_MAX_FRAME_SIZE,
    on_oversize: OnOversize = "raise",
    on_discard: Callable[[FrameTooLarge], object] | None = None,
    on_payload_error: Callable[[PayloadError], object] | None = None,
) -> AsyncIterator[Any]:
    """Yield the frames of an asynchronous source, under any event loop (asyncio, trio, anyio).

    Args:
        source: ``await source()`` gives the next bytes, ``b""`` at the end of the stream; or an
            asynchronous iterable of ``bytes``.

    The other arguments and the errors are those of `iter_frames`. Cancelling a pending step loses no
    byte that was received, but it ends this iterator: a decoder of your own outlives a cancellation.
    """
    decoder = FrameDecoder(max_frame_size=max_frame_size, on_oversize=on_oversize, on_discard=on_discard)
    chunks = source if isinstance(source, AsyncIterable) else _received(source)
    return _aframes(chunks.__aiter__(), condition_of(condition), decoder, on_payload_error)


async def _received(receive: Callable[[], Awaitable[BytesLike]]) -> AsyncIterator[BytesLike]:
    while chunk := await receive():
        yield chunk


async def _aframes(
    chunks: AsyncIterator[BytesLike],
    condition: ReadCondition[T],
    decoder: FrameDecoder,
    on_payload_error: Callable[[PayloadError], object] | None,
) -> AsyncIterator[T]:
    while True:
        frames = _next_batch(decoder, condition, on_payload_error)
        if frames is END:
            return
        if frames is NEED_DATA:
            try:
                _feed(decoder, await chunks.__anext__())
            except StopAsyncIteration:
                _feed(decoder, None)
        else:
            for frame in frames:
                yield frame
