"""Faults of the network, each on schedule: nothing is lost, nothing hangs, nothing is made up."""

import asyncio

import pytest

from framestream import IncompleteFrame, LengthPrefix, Line, Msgpack, StreamClosed
from framestream.testing import Wire, memory_stream_pair

pytestmark = pytest.mark.asyncio_only  # a wire in memory is the same on every loop

LINES = [f"line {number}" for number in range(50)]
WIRE = "".join(f"{line}\n" for line in LINES).encode()

FAULTS = {
    "one byte at a time": Wire(chunks=[1]),
    "EAGAIN storm": Wire(blocks=[True, True, True, False]),
    "EINTR storm": Wire(blocks=[InterruptedError(), False, InterruptedError()], chunks=[3]),
    "one-byte writes": Wire(takes=[1]),
    "one-byte writes that block in between": Wire(takes=[0, 1, 0, 0]),
    "late": Wire(lags=[3, 0, 7]),
    "all at once": Wire(chunks=[1, 7], blocks=[True, False], takes=[5, 0], lags=[1], capacity=16),
}


SMALL = [line.encode() for line in LINES]
LARGE = [b"x" * 300_000, b"y", b"z" * 200_000]
WEATHER = [
    *((wire, SMALL) for wire in FAULTS.values()),
    (Wire(chunks=[997, 4096, 1]), LARGE),
    (Wire(chunks=[9973], blocks=[True, InterruptedError(), False]), LARGE),
    (Wire(takes=[5003, 0, 1]), LARGE),
    (Wire(lags=[3], takes=[8192]), LARGE),
]


@pytest.mark.parametrize(("wire", "frames"), WEATHER, ids=range(len(WEATHER)))
async def test_no_weather_changes_frames(wire, frames):
    client, server = memory_stream_pair(wire, framer=LengthPrefix(4))
    for frame in frames:
        client.send(frame)
    ending = asyncio.ensure_future(client.aclose(timeout=None))
    assert frames == [frame async for frame in server.frames()]
    await ending


@pytest.mark.parametrize("framer", [Line(last=False), LengthPrefix(2), Msgpack()], ids=str)
@pytest.mark.parametrize("fault", ["reset", "end"])
async def test_a_cut_at_every_byte_gives_every_whole_frame_and_tells_the_rest(framer, fault):
    frames = [b"first", b"second"] if isinstance(framer, LengthPrefix) else ["first", "second"]
    first, second = (data if isinstance(data, bytes) else b"".join(data) for data in map(framer.encode, frames))
    for at in range(len(first) + len(second)):
        wire = Wire(errors={at: ConnectionResetError(104, "reset")}) if fault == "reset" else Wire(end=at)
        client, server = memory_stream_pair(wire, framer=framer)
        client.write(first + second)
        got = []
        error = None
        try:
            async for frame in server.frames():
                got.append(frame)  # noqa: PERF401 - it may raise half-way
        except (StreamClosed, IncompleteFrame) as caught:
            error = caught
        assert frames[: int(at >= len(first))] == got
        if fault == "reset":
            assert isinstance(error, StreamClosed)
            assert isinstance(error.real_error, ConnectionResetError)
        else:
            expected = type(None) if at in (0, len(first)) else IncompleteFrame
            assert isinstance(error, expected)
        assert server.closed()
        client.close()


async def test_a_wire_repeats_exactly():
    async def run():
        client, server = memory_stream_pair(FAULTS["all at once"])
        client.write(WIRE)
        ending = asyncio.ensure_future(client.aclose(timeout=None))
        got, sizes = [], []
        async for batch in server.batches(Line()):
            got += batch
            sizes.append(len(batch))
        await ending
        return got, sizes

    first = await run()
    assert first == await run()
    assert LINES == first[0]
