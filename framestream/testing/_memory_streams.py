"""Streams in memory, for tests: no sockets, no time, no chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framestream.stream._stream import IOStream
from framestream.testing._memory_channel import Wire, memory_channel_pair

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from framestream.framer import ReadCondition
    from framestream.stream._stream_options import StreamOptions


def memory_stream_pair(
    there: Wire | None = None,
    back: Wire | None = None,
    *,
    framer: ReadCondition[Any] | str | None = None,
    **options: Unpack[StreamOptions],
) -> tuple[IOStream, IOStream]:
    """Return two streams joined in memory.

    ::

        client, server = memory_stream_pair(Wire(chunks=[1, 2, 3]))

    Args:
        there: how the first stream's bytes travel to the second.
        back: how the second stream's bytes travel to the first.
        framer: the framer of both.
        options: the options of both, as for `IOStream`.
    """
    first, second = memory_channel_pair(there, back)
    return IOStream(first, framer=framer, **options), IOStream(second, framer=framer, **options)
