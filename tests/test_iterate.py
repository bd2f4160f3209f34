"""iter_frames and aiter_frames: the same frames from every kind of source."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sample_conditions import Bracketed, Lines, cut

from framestream import FrameDecoder, FrameTooLarge, IncompleteFrame, PayloadError, aiter_frames, iter_frames
from framestream.iterate import placed_frames

DATA = b"one\ntwo\nthree\n"
FRAMES = [b"one", b"two", b"three"]


class RawReader:
    """A source with nothing but ``read``, which gives what it likes."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks

    def read(self, size: int, /) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


@pytest.mark.parametrize("source", [
    DATA, bytearray(DATA), memoryview(DATA), cut(DATA, 2), iter(cut(DATA, 1)), io.BytesIO(DATA),
    io.BufferedReader(io.BytesIO(DATA)), RawReader(cut(DATA, 5)),  # type: ignore[arg-type]
], ids=lambda s: type(s).__name__)  # fmt: skip
def test_frames_come_from_anything_that_gives_bytes(source: Any) -> None:
    assert list(iter_frames(source, Lines())) == FRAMES


def test_frames_come_from_a_path(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(DATA)
    assert list(iter_frames(path, Lines())) == list(iter_frames(str(path), Lines())) == FRAMES


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


def test_a_condition_may_be_named() -> None:
    assert list(iter_frames(DATA, "line")) == ["one", "two", "three"]


def test_errors_come_after_the_frames_before_them() -> None:
    frames = iter_frames(b"one\ntw", Lines())
    assert next(frames) == b"one"
    with pytest.raises(IncompleteFrame):
        next(frames)


def test_the_limit_and_its_policy_are_passed_on() -> None:
    reports: list[FrameTooLarge] = []
    frames = iter_frames(DATA, Lines(), max_frame_size=3, on_oversize="discard", on_discard=reports.append)
    assert list(frames) == [b"one", b"two"]
    assert [r.offset for r in reports] == [8]


def test_bad_payloads_end_the_iteration_unless_somebody_takes_them() -> None:
    data = b"<one><\xff><two>"
    with pytest.raises(PayloadError):
        list(iter_frames(data, Bracketed()))
    bad: list[PayloadError] = []
    assert list(iter_frames(data, Bracketed(), on_payload_error=bad.append)) == ["one", "two"]
    assert [e.payload for e in bad] == [b"\xff"]


def test_frames_come_with_their_places_and_bad_ones_have_theirs() -> None:
    bad = []
    decoder = FrameDecoder(on_payload_error=lambda e: bad.append((decoder.frame_span, e.offset)))
    frames = placed_frames(decoder, Bracketed(), cut(b"<one><\xff><two>", 4))
    assert list(frames) == [((0, 5), "one"), ((8, 13), "two")]
    assert bad == [((5, 8), 5)]


def receive_from(data: bytes, size: int) -> Callable[[], Awaitable[bytes]]:
    chunks = cut(data, size)

    async def receive() -> bytes:
        await asyncio.sleep(0)
        return chunks.pop(0) if chunks else b""

    return receive


def collect(frames: AsyncIterator[Any]) -> list[Any]:
    async def gather() -> list[Any]:
        return [frame async for frame in frames]

    return asyncio.run(gather())


@pytest.mark.parametrize("size", [1, 4, 100])
def test_frames_come_from_an_awaitable_receive(size: int) -> None:
    assert collect(aiter_frames(receive_from(DATA, size), Lines())) == FRAMES


def test_frames_come_from_an_asynchronous_iterable() -> None:
    async def source() -> AsyncIterator[bytes]:
        for chunk in cut(DATA, 3):
            yield chunk

    assert collect(aiter_frames(source(), "line")) == ["one", "two", "three"]


def test_options_are_those_of_a_decoder_and_the_same_for_both() -> None:
    bad: list[PayloadError] = []
    for options, expected in (({}, ["one"]), ({"max_frame_size": 2}, [])):
        with pytest.raises(PayloadError if expected else FrameTooLarge):
            collect(aiter_frames(receive_from(b"<one><\xff>", 4), Bracketed(), **options))  # type: ignore[call-overload]
    frames = aiter_frames(receive_from(b"<\xff><one>", 4), Bracketed(), on_payload_error=bad.append)
    assert (collect(frames), [error.payload for error in bad]) == (["one"], [b"\xff"])
    with pytest.raises(TypeError, match="max_size"):
        iter_frames(DATA, Lines(), max_size=3)  # type: ignore[call-overload]
