"""What every front end of the decoder promises, claimed of those in this distribution."""

from __future__ import annotations

import asyncio
import threading

import pytest

from framestream import IOStream, blocking
from framestream.testing.front_ends import CLAIMS


class OnALoop:
    """An IOStream on a loop in a thread of its own, seen as a `FrontEnd`."""

    def __init__(self, loop, sock, framer=None, send_framer=None, **options):
        self.loop = loop

        async def open_stream():
            return IOStream(sock, framer=framer, send_framer=send_framer, half_open=True, **options)

        self.stream = self.run(open_stream())

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def receive(self, condition=None, *, timeout=None):
        async def receive():
            return await asyncio.wait_for(self.stream.read(condition), timeout)

        return self.run(receive())

    def frames(self):
        async def frames():
            return [frame async for frame in self.stream]

        return self.run(frames())

    def send(self, frame):
        async def send():
            await self.stream.send(frame)

        self.run(send())

    def send_eof(self):
        async def send_eof():
            await self.stream.write_eof()

        self.run(send_eof())

    def close(self):
        self.run(self.stream.aclose())

    @property
    def leftover(self):
        return self.stream.leftover


class Blocking(blocking.Stream):
    """A blocking stream as a `FrontEnd`."""

    def frames(self):
        return list(super().frames())


@pytest.fixture(params=["asyncio", "blocking"])
def opener(request):
    """Open a front end over a socket."""
    if request.param == "blocking":
        yield lambda *arguments, **options: Blocking(blocking.framed(*arguments, **options)._stream)
        return
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda *arguments, **options: OnALoop(loop, *arguments, **options)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_every_front_end_promises_that(claim, opener):
    claim(opener)
