"""What type checkers infer about framers written as generators. This file only has to type-check."""

from __future__ import annotations

from typing import assert_type

from framestream import FrameDecoder, IOStream, Line, iter_frames
from framestream.decoder import End, NeedData
from framestream.framers import Body, Fields, GeneratorFramer


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
