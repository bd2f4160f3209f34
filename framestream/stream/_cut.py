"""A stream that was cut off: by a reset, a fault, or a `close` on this side."""

from __future__ import annotations

import ssl

from framestream.decoder import FrameDecoder
from framestream.errors import StreamClosed, because
from framestream.stream._rest import Rest
from framestream.transport._channel import is_reset


def end_here(decoder: FrameDecoder, error: BaseException | None) -> None:
    """Let the decoder take the cut for the end of the stream, where it is one to whoever reads.

    Raises:
        StreamClosed: it is none: what has begun will never be complete.
    """
    # No condition may take the place where a stream was cut off for its end, and half a line for a line.
    is_empty = error is None and not decoder.buffered and not decoder.streaming
    if decoder.eof or is_empty or (isinstance(decoder.condition, Rest) and _is_gone(error)):
        decoder.receive_eof()
        return
    reason = "stream closed inside a frame" if decoder.buffered else "stream ended"
    raise because(StreamClosed(reason, real_error=error), error)


def _is_gone(error: BaseException | None) -> bool:
    # Closed by somebody here, or reset by the peer; and not by a fault, nor TLS that breaks off.
    return error is None or (is_reset(error) and not isinstance(error, ssl.SSLError))
