"""Go over to TLS on a stream that is open."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from framestream.channels._tls_channel import TLSChannel
from framestream.streams._deadlines import within
from framestream.streams._idle import watch_for_end

if TYPE_CHECKING:
    import asyncio

    from framestream.streams._core import StreamCore


async def start_tls(
    core: StreamCore,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None,
    timeout: float | None,
    received: bytes,
) -> None:
    """Flush, then shake hands; close the stream if that fails or is cancelled."""
    core.begin(core, None)
    try:
        await within(core.loop, _start(core, context, server_side, server_hostname, received), timeout)
    except BaseException as error:
        core.close(error)
        raise
    finally:
        core.inbound.end()
        watch_for_end(core)


async def _start(
    core: StreamCore,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    received: bytes,
) -> None:
    await core.outbound.flush()
    channel = TLSChannel(
        core.channel, context, server_side=server_side, server_hostname=server_hostname, received=received
    )
    core.replace_channel(channel)
    with core.outbound.held():
        await _shake_hands(core.loop, channel)


async def _shake_hands(loop: asyncio.AbstractEventLoop, channel: TLSChannel) -> None:
    while True:
        try:
            channel.handshake()
            return
        except (BlockingIOError, InterruptedError):
            await _ready(loop, channel)


async def _ready(loop: asyncio.AbstractEventLoop, channel: TLSChannel) -> None:
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    channel.watch_read(loop, wake)
    if channel.wants_write:
        channel.watch_write(loop, wake)
    try:
        await ready
    finally:
        channel.watch_read(loop, None)
        channel.watch_write(loop, None)
