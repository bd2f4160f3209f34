"""Only has to type-check: what a reader gets is inferred from the condition it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, assert_type

from framestream import (
    END,
    FRAME_END,
    NEED_DATA,
    Delimiter,
    Exactly,
    FrameDecoder,
    IOStream,
    LengthPrefix,
    Line,
    Msgpack,
    ReadCondition,
    UntilClose,
    aiter_frames,
    get_framer,
    iter_frames,
)
from framestream.decoder import End, NeedData
from framestream.framers import Body, Fields, GeneratorFramer
from framestream.iterate import AsyncFrames


def a_frame_has_the_type_its_condition_decodes_to(decoder: FrameDecoder) -> None:
    line = decoder.next_frame(Line())
    if line is not NEED_DATA and line is not END:
        assert_type(line, str)
    raw = decoder.next_frame(Line(encoding=None))
    if raw is not NEED_DATA and raw is not END:
        assert_type(raw, bytes)
    for condition in (Delimiter(b"\n"), LengthPrefix(2), Exactly(3), UntilClose()):
        frame = decoder.next_frame(condition)
        if frame is not NEED_DATA and frame is not END:
            assert_type(frame, bytes)
    assert_type(Msgpack().decode(b""), Any)


def a_batch_is_a_list_of_frames(decoder: FrameDecoder) -> None:
    batch = decoder.next_batch(Line())
    if batch is not NEED_DATA and batch is not END:
        assert_type(batch, list[str])


def a_part_is_bytes_or_a_signal(decoder: FrameDecoder) -> None:
    part = decoder.next_part(Line())
    if part is not NEED_DATA and part is not END and part is not FRAME_END:
        assert_type(part, bytes)


def iterators_yield_frames() -> None:
    assert_type(iter_frames(b"", Line()), Iterator[str])
    assert_type(iter_frames(b"", "line"), Iterator[Any])

    async def receive() -> bytes:
        return b""

    assert_type(aiter_frames(receive, Line()), AsyncFrames[str])


def a_name_gives_a_condition_of_unknown_frames() -> None:
    assert_type(get_framer("line"), ReadCondition[Any])


class Pair(GeneratorFramer[tuple[str, int]]):
    def fields(self) -> Fields[tuple[str, int]]:
        [number] = yield 1
        name = yield Line()
        return name, number


class Text(GeneratorFramer[str]):
    def fields(self) -> Fields[str]:
        size = yield b":"
        return Body(int(size), bytes.decode, trailer=b",")


def frames_have_the_type_that_the_generator_returns(decoder: FrameDecoder) -> None:
    assert_type(decoder.next_frame(Pair()), tuple[str, int] | NeedData | End)
    for text in iter_frames(b"5:hello,", Text()):
        assert_type(text, str)


async def streams_infer_it_too(stream: IOStream) -> None:
    assert_type(await stream.read(Pair()), tuple[str, int])
