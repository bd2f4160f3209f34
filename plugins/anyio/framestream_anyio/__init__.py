"""Send and receive frames on anyio's streams, on trio and asyncio alike.

::

    async with framed(await anyio.connect_tcp("localhost", 4000), Line()) as stream:
        await stream.send("hello")
        async for line in stream:
            print(line)
"""

from framestream_anyio._stream import (
    FramedBroken,
    FramedBusy,
    FramedClosed,
    FramedEnd,
    FramedStream,
    framed,
)

__all__ = ["FramedBroken", "FramedBusy", "FramedClosed", "FramedEnd", "FramedStream", "framed"]
