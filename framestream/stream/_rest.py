"""Everything up to the end of a stream, however the end came."""

from __future__ import annotations

from framestream.framers.amounts import UntilClose


class Rest(UntilClose):
    """What `read_until_close` reads by: a reset by the peer, and a `close` on this side, are ends to it.

    To every other condition a stream that is cut off has no end: half a frame is none.
    """
