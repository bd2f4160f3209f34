"""iter_frames and aiter_frames: the same frames from every kind of source."""

from __future__ import annotations

import asyncio
import io
import socket
from array import array
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from sample_conditions import Bracketed, Lines, cut
from stream_pairs import begun, cancelled, once, passes, raised

from framestream import FrameDecoder, FrameTooLarge, PayloadError, StreamBusy, StreamClosed, aiter_frames, iter_frames
from framestream.iterate import placed_frames

DATA = b"one\ntwo\nthree\n"
FRAMES = [b"one", b"two", b"three"]


class RawReader:
    """A source with nothing but ``read``, which gives what it likes."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self.chunks = [*chunks, b""]

    def read(self, size: int, /) -> Any:
        return self.chunks.pop(0)


class SerialPort(RawReader):
    """As pyserial has them: a silent moment is ``b""``, and there is no end."""

    def __init__(self, chunks: Iterable[bytes], timeout: float | None = 0.1) -> None:
        super().__init__(chunks)
        self.timeout = timeout

    @property
    def in_waiting(self) -> int:
        return len(self.chunks[0])

    def read(self, size: int, /) -> bytes:
        if len(self.chunks) == 1:
            raise OSError("device gone")
        assert size == max(1, len(self.chunks[0]))
        return self.chunks.pop(0)


@pytest.mark.parametrize("source", [
    DATA, bytearray(DATA), memoryview(DATA), array("H", DATA), [array("H", DATA)],
    cut(DATA, 2), iter(cut(DATA, 1)), [b"", DATA], io.BytesIO(DATA),
    io.BufferedReader(io.BytesIO(DATA)), RawReader(cut(DATA, 5)),
], ids=lambda s: type(s).__name__)  # fmt: skip
def test_frames_come_from_anything_that_gives_bytes(source: Any) -> None:
    assert list(iter_frames(source, Lines())) == FRAMES


def test_frames_come_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(DATA)
    assert list(iter_frames(path, Lines())) == list(iter_frames(str(path), "line:encoding=none")) == FRAMES


def test_frames_come_from_a_socket_as_they_arrive() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"one\ntw")
        frames = iter_frames(ours, Lines())
        assert next(frames) == b"one"
        theirs.sendall(b"o\n")
        assert next(frames) == b"two"
        theirs.close()
        assert list(frames) == []


def test_a_silent_serial_port_has_not_ended() -> None:
    frames = iter_frames(SerialPort([b"one\ntw", b"", b"o\n", b"", b""]), Lines())
    assert [next(frames), next(frames)] == [b"one", b"two"]
    with pytest.raises(OSError, match="device gone"):
        next(frames)
    with pytest.raises(ValueError, match="timeout=0, so it never waits"):
        next(iter_frames(SerialPort([], timeout=0), Lines()))


def as_pair(raw: Any) -> io.BufferedRWPair:
    return io.BufferedRWPair(raw, raw)  # what ``makefile("rwb")`` gives


@pytest.mark.parametrize(("kind", "buffer"), [
    ("file", None), ("file", io.BufferedReader), ("socket", None), ("socket", io.BufferedReader), ("socket", as_pair),
])  # fmt: skip
@pytest.mark.parametrize(("timeout", "ends"), [(0, False), (0, True), (10, True)])
def test_nothing_yet_is_not_the_end_and_the_end_is(timeout: int, ends: bool, kind: str, buffer: Any) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(timeout)
    theirs.sendall(b"one\n" if ends else b"one\ntw")
    raw: Any = io.FileIO(ours.detach()) if kind == "file" else ours.makefile("rwb", buffering=0)
    with theirs, ours, buffer(raw) if buffer else raw as file:
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        frames = iter_frames(file, Lines())
        assert next(frames) == b"one"
        if ends:
            assert list(frames) == []
        else:
            with pytest.raises(BlockingIOError, match="nothing yet"):
                next(frames)


@pytest.mark.parametrize(("source", "told"), [
    (io.StringIO("one\n"), "a text file gives no bytes: open it with mode 'rb', or pass its .buffer"),
    (RawReader(["one\n"]), "data is of type str; it must be bytes; open files in binary mode"),
    (["one\n"], "of type str"),
    ([1, 2], "of type int; it must be bytes"),
    ([b"a\n", None], "of type NoneType; it must be bytes; leave out"),
    (5, "source is of type int, which gives no bytes"),
    (len, "which gives no bytes; use aiter_frames"),
], ids=type)  # fmt: skip
def test_what_gives_no_bytes_is_refused_with_a_hint(source: Any, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        list(iter_frames(source, Lines()))


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_that_keeps_boundaries_is_refused(kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs, pytest.raises(TypeError, match=f"a {kind.name} socket keeps the boundaries of messages"):
        iter_frames(ours, Lines())


def test_frames_come_with_their_places_and_bad_ones_have_theirs() -> None:
    bad = []
    decoder = FrameDecoder(on_payload_error=lambda e: bad.append((decoder.frame_span, e.offset)))
    frames = placed_frames(decoder, Bracketed(), cut(b"<one><\xff><two>", 4))
    assert list(frames) == [((0, 5), "one"), ((8, 13), "two")]
    assert bad == [((5, 8), 5)]


async def gather(frames: AsyncIterator[Any]) -> list[Any]:
    return [frame async for frame in frames]


def collect(frames: AsyncIterator[Any]) -> list[Any]:
    return asyncio.run(gather(frames))


class Awaited:
    """Gives each chunk after some turns of the loop; it may be asked again after a wait was cancelled."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = list(chunks)

    def __aiter__(self) -> Awaited:
        return self

    async def __anext__(self) -> bytes:
        await passes(5)
        if not self.chunks:
            raise StopAsyncIteration
        return self.chunks.pop(0)

    async def receive(self) -> bytes:
        return await anext(self, b"")


class AwaitedReader(Awaited):
    """As streams of asyncio: iterating over it would give something else."""

    async def read(self, size: int) -> bytes:
        return await self.receive()

    async def __anext__(self) -> bytes:
        return b"".join([await super().__anext__()])


@once
@pytest.mark.parametrize("source_of", [Awaited, AwaitedReader, lambda chunks: Awaited(chunks).receive])
async def test_cancelled_steps_lose_nothing(source_of: Callable[[list[bytes]], Any]) -> None:
    frames = aiter_frames(source_of(cut(DATA, 5)), Lines())
    got = []
    for _ in FRAMES:
        await cancelled(await begun(anext(frames)))
        got.append(await anext(frames))
    await cancelled(await begun(anext(frames, None)))
    assert got + await gather(frames) == FRAMES


@once
async def test_an_asynchronous_generator_that_a_cancellation_ended_has_not_reached_its_end() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"one\ntwo\nth"
        await asyncio.Event().wait()

    frames = aiter_frames(source(), Lines())
    assert [await anext(frames), await anext(frames)] == [b"one", b"two"]
    await cancelled(await begun(anext(frames)))
    for _ in range(2):
        await raised(StreamClosed, anext, frames, match="CancelledError ended the source, an asynchronous generator")


@once
async def test_an_asynchronous_generator_that_somebody_else_waits_for_has_not_ended() -> None:
    async def source() -> AsyncIterator[bytes]:
        await arrived.wait()
        yield b"theirs"
        yield b"one\n"

    arrived, given = asyncio.Event(), source()
    frames = aiter_frames(given, Lines())
    theirs = await begun(anext(given))
    await raised(RuntimeError, anext, frames, match="already running")
    arrived.set()
    assert (await theirs, await gather(frames)) == (b"theirs", [b"one"])


@once
async def test_closing_the_frames_closes_a_generator_and_ends_the_iteration() -> None:
    async def source() -> AsyncIterator[bytes]:
        try:
            yield DATA
        finally:
            closed.append(True)

    closed: list[bool] = []
    for given in (source(), Awaited([DATA])):
        frames = aiter_frames(given, "line")
        assert await anext(frames) == "one"
        await frames.aclose()
        assert await gather(frames) == []
    assert closed == [True]


@once
async def test_two_tasks_cannot_wait_for_the_same_frame() -> None:
    frames = aiter_frames(Awaited([DATA]), Lines())
    first, second = await asyncio.gather(anext(frames), anext(frames), return_exceptions=True)
    assert (first, type(second)) == (b"one", StreamBusy)


@once
async def test_asynchronous_iteration_goes_on_after_an_error() -> None:
    frames = aiter_frames(Awaited([b"<one><\xff><two>"]), Bracketed())
    assert await anext(frames) == "one"
    await raised(PayloadError, anext, frames)
    assert await gather(frames) == ["two"]


def test_what_is_no_asynchronous_source_is_refused() -> None:
    with pytest.raises(TypeError, match="source is of type list; it must be a function to await"):
        aiter_frames([DATA], Lines())
    with pytest.raises(TypeError, match="of type NoneType; it must be bytes"):
        collect(aiter_frames(Awaited([None]).receive, Lines()))


@pytest.mark.parametrize("frames_of", [
    lambda data, *given, **options: list(iter_frames(data, *given, **options)),
    lambda data, *given, **options: collect(aiter_frames(Awaited([data]).receive, *given, **options)),
], ids=["iter_frames", "aiter_frames"])  # fmt: skip
def test_options_are_those_of_a_decoder_and_the_same_for_both(frames_of: Any) -> None:
    large: list[FrameTooLarge] = []
    options = {"max_frame_size": 3, "on_oversize": "discard", "on_discard": large.append}
    assert frames_of(DATA, Lines(), **options) == [b"one", b"two"]
    assert [error.offset for error in large] == [8]
    data, bad = b"<one><\xff><two>", list[PayloadError]()
    assert frames_of(data, Bracketed(), on_payload_error=bad.append) == ["one", "two"]
    assert [error.payload for error in bad] == [b"\xff"]
    with pytest.raises(PayloadError):
        frames_of(data, Bracketed())
    with pytest.raises(TypeError, match="max_size"):
        frames_of(DATA, Lines(), max_size=3)
    for wrong in (Lines, b"\n", 5):
        with pytest.raises(TypeError, match="not a read condition; "):
            frames_of(DATA, wrong)
