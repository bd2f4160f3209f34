"""What every front end of the decoder promises, claimed of those in this distribution."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from framestream import EncodeError, FramestreamError, IOStream, PayloadError, StreamClosed, StreamTimeout, blocking
from framestream.testing import front_ends
from framestream.testing.front_ends import CLAIMS


class OnALoop:
    """An IOStream on a loop in a thread of its own, seen as a `FrontEnd`."""

    def __init__(self, loop, sock, framer=None, send_framer=None, **options):
        self.loop = loop

        async def open_stream():
            return IOStream(sock, framer=framer, send_framer=send_framer, half_open=True, **options)

        self.stream = self.call(open_stream)

    def call(self, function, *arguments, timeout=None):
        async def called():
            return await asyncio.wait_for(function(*arguments), timeout)

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result()

    def receive(self, condition=None, *, timeout=None):
        return self.call(self.stream.read, condition, timeout=timeout)

    def frames(self):
        async def frames():
            return [frame async for frame in self.stream]

        return self.call(frames)

    def send(self, frame):
        self.call(self.stream.send, frame)

    def send_eof(self):
        self.call(self.stream.write_eof)

    def close(self):
        self.call(self.stream.aclose)

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


# The claims can fail


class Forgetful(Blocking):
    """Loses what it has of a frame when it gives up."""

    def receive(self, *arguments, **limits):
        try:
            return super().receive(*arguments, **limits)
        except StreamTimeout:
            self._call(self._stream.receiver.decoder.take_leftover)
            raise


class Silent(Blocking):
    """Passes over what cannot be decoded or sent, and takes a lost connection for the end."""

    def send(self, frame):
        with suppress(StreamClosed):
            super().send(frame)

    def receive(self, *arguments, **limits):
        try:
            return super().receive(*arguments, **limits)
        except PayloadError:
            return self.receive(*arguments, **limits)
        except StreamClosed:
            raise StreamClosed from None


class Careless(Blocking):
    """Sends the beginning of what it cannot encode, and each frame in pieces."""

    def send(self, frame):
        data = b"".join(self._stream.send_framer.encode(frame[:200]))
        for at in range(0, len(data), 4000):
            self.write(data[at : at + 4000])
        if data[1:] != frame and len(data) == 201:
            raise EncodeError("too long")


class Greedy(Blocking):
    """Has no limit."""

    def __init__(self, stream):
        super().__init__(stream)
        stream.receiver.decoder.max_frame_size = 1 << 30


class Abrupt(Blocking):
    """Closes the stream after the first frame that it sends."""

    def send(self, frame):
        super().send(frame)
        self.close()


class Lax(Blocking):
    """Ends its half of a stream that is closed."""

    def send_eof(self):
        with suppress(StreamClosed):
            super().send_eof()


class Shuffling(Blocking):
    """Puts the first buffer of what needs several of them last."""

    def send(self, frame):
        super().send(frame[1 << 16 :] + frame[: 1 << 16])

    def receive(self, *arguments, **limits):
        frame = super().receive(*arguments, **limits)
        return frame[1 << 16 :] + frame[: 1 << 16]

    def frames(self):
        return [frame[1 << 16 :] + frame[: 1 << 16] for frame in super().frames()]


FAULTS = {
    Shuffling: {"chunks_and_giving_up_change_no_frame", "frames_sent_at_once_leave_whole"},
    Lax: {"a_closed_stream_takes_nothing"},
    Abrupt: {"frames_sent_at_once_leave_whole"},
    Forgetful: {"chunks_and_giving_up_change_no_frame"},
    Silent: {
        "an_error_costs_no_other_frame",
        "a_reset_is_no_end",
        "a_closed_stream_takes_nothing",
        "half_a_stream_can_be_ended",
    },
    Careless: {"what_has_no_encoding_is_not_sent", "frames_sent_at_once_leave_whole"},
    Greedy: {"an_error_costs_no_other_frame"},
}


@pytest.mark.parametrize("faulty", FAULTS, ids=lambda faulty: faulty.__name__)
def test_the_claims_notice_a_front_end_that_is(faulty, monkeypatch):
    monkeypatch.setattr(front_ends, "PATIENCE", 0.2)
    monkeypatch.setenv("CI", "true")  # pytest shows whole differences then, and needs minutes for those of long frames
    for claim in CLAIMS:
        if claim.__name__ in FAULTS[faulty]:
            with pytest.raises((AssertionError, FramestreamError, TimeoutError)):
                claim(lambda *arguments, **options: faulty(blocking.framed(*arguments, **options)._stream))
