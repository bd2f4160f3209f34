"""Reads that go past the conditions: looking ahead, filling a caller's buffer, taking the rest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from framestream.errors import IncompleteFrame, StreamClosed
from framestream.stream._awaited_read import AwaitedBytes, next_frame
from framestream.stream._rest import Rest

if TYPE_CHECKING:
    from framestream.stream._core import StreamCore

REST: Final = Rest()
# For less, a chunk that is received and copied costs no more.
_WORTH_LENDING: Final = 1 << 14


async def peek(core: StreamCore, size: int) -> bytes:
    """Return the next `size` bytes, fewer if the stream ends before; nothing is consumed."""
    await arrived(core, size)
    return core.decoder.peek(size)


async def read_into(core: StreamCore, buffer: bytearray | memoryview, *, partial: bool) -> int:
    """Fill `buffer`; nothing is consumed until all is there, so that cancelling loses none."""
    decoder = core.decoder
    from framestream.framers.amounts import Exactly  # noqa: PLC0415

    with memoryview(buffer) as view, view.cast("B") as place:
        if place.readonly:
            raise TypeError("read_into needs a buffer that can be written")
        if decoder.skipping:
            await next_frame(core, Exactly(0))
        size = len(place)
        wanted = min(size, 1) if partial else size
        if wanted - decoder.buffered >= _WORTH_LENDING:
            if await _arrived_in(core, place):
                return size
        else:
            await arrived(core, wanted)
        got = min(size, decoder.buffered)
        if got < wanted:
            core.note_end()
            if got and core.inbound.peer_ended:
                raise IncompleteFrame(received=got, expected=size, offset=decoder.offset)
            raise StreamClosed("stream ended", real_error=core.error)
        decoder.take_into(place[:got])
        return got


async def arrived(core: StreamCore, size: int) -> None:
    """Wait until `size` bytes are there, or the end of the stream is."""
    _check_free(core)
    if core.decoder.buffered < size and not core.inbound.eof:
        await AwaitedBytes(core, size)


async def _arrived_in(core: StreamCore, place: memoryview) -> bool:
    # Receive straight into the place. Returns False if it could not be filled: what is there is buffered.
    _check_free(core)
    decoder = core.decoder
    decoder.receive_into(place)
    core.inbound.receive_in_place()
    try:
        await arrived(core, len(place))
    except BaseException:
        decoder.release_place(consume=False)
        raise
    return decoder.release_place(consume=True)


def _check_free(core: StreamCore) -> None:
    if not core.inbound.free:
        core.make_free()
    core.check_not_in_parts()


def read_rest(core: StreamCore, read: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Return everything up to the end of the stream, by whichever way `options` ask for."""
    if options.get("streaming_callback") is None:
        options = {"max_size": core.max_buffer_size, **options}
    reading = read(REST, **options)
    return None if reading is None else _rest(core, reading)


async def _rest(core: StreamCore, reading: Awaitable[bytes]) -> bytes:
    rest = await reading
    core.note_end()
    return rest
