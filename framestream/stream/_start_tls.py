"""Go over to TLS on a stream that is open."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from framestream.errors import StreamClosed
from framestream.stream._deadlines import within
from framestream.stream._idle import watch_for_end
from framestream.transport._tls_channel import TLSChannel

if TYPE_CHECKING:
    import asyncio

    from framestream.stream._core import StreamCore


async def start_tls(
    core: StreamCore,
    context: ssl.SSLContext,
    *,
    server_side: bool,
    server_hostname: str | None,
    timeout: float | None,
    truncation_is_end: bool,
    received: bytes,
) -> None:
    """Flush, then shake hands; close the stream if that fails or is cancelled."""
    core.handshake = handshake = Handshake(core)
    core.begin(handshake, None)

    async def start(written: int) -> None:
        while not core.outbound.send_held(written):
            await core.outbound.writable()
        channel = TLSChannel(
            core.channel,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            truncation_is_end=truncation_is_end,
            received=received,
        )
        core.replace_channel(channel)
        await handshake.shake(channel)

    try:
        # From here on nothing that others write may leave before the handshake is done.
        with core.outbound.held():
            try:
                await within(core.loop, start(core.outbound.buffer.written), timeout, "TLS handshake")
            except BaseException as error:
                core.close(error)
                raise
    finally:
        core.handshake = None
        core.inbound.end()
        watch_for_end(core)


class Handshake:
    """A TLS handshake under way: what reads meanwhile, and what to tell when the stream is closed."""

    __slots__ = ("_channel", "_core", "_ready")

    def __init__(self, core: StreamCore) -> None:
        self._core = core
        self._channel: TLSChannel | None = None
        self._ready: asyncio.Future[None] | None = None

    async def shake(self, channel: TLSChannel) -> None:
        """Exchange what the handshake takes."""
        core, self._channel = self._core, channel
        while not core.closed:
            try:
                channel.handshake()
                return
            except (BlockingIOError, InterruptedError):
                await self._wait(channel)
        raise StreamClosed("stream closed during the TLS handshake", real_error=core.error)

    async def _wait(self, channel: TLSChannel) -> None:
        loop = self._core.loop
        self._ready = ready = loop.create_future()
        channel.watch_read(loop, self._wake)
        if channel.wants_write:
            channel.watch_write(loop, self._wake)
        try:
            await ready
        finally:
            self._unwatch()

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def _unwatch(self) -> None:
        if self._channel is not None:
            self._channel.watch_read(self._core.loop, None)
            self._channel.watch_write(self._core.loop, None)

    def stop(self) -> None:
        """Wait no longer: the stream is closed."""
        self._unwatch()
        self._wake()
