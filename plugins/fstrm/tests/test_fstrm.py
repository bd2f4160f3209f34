"""Frame Streams: data, control frames, the handshake, and the kit."""

from __future__ import annotations

import pytest

from framestream import EncodeError, PayloadError, iter_frames
from framestream.testing import check_framer
from framestream_fstrm import Control, ControlType, Fstrm, HandshakeError, Reading, Writing

DNSTAP = b"protobuf:dnstap.Dnstap"
ACCEPT, START, STOP, READY, FINISH = ControlType


def control(*words: int | bytes) -> bytes:
    content = b"".join(word if isinstance(word, bytes) else word.to_bytes(4, "big") for word in words)
    return b"\0\0\0\0" + len(content).to_bytes(4, "big") + content


EXAMPLES: dict[bytes, list[bytes | Control]] = {
    control(4, 1, 22, DNSTAP) + control(1, 1, 22, DNSTAP): [Control(READY, (DNSTAP,)), Control(ACCEPT, (DNSTAP,))],
    control(2, 1, 22, DNSTAP) + b"\0\0\0\5hello\0\0\1\0" + b"x" * 256 + control(3): [
        Control(START, (DNSTAP,)),
        b"hello",
        b"x" * 256,
        Control(STOP),
    ],
    control(5) + control(2) + control(4): [Control(FINISH), Control(START), Control(READY)],
    control(1, 1, 0, b"", 1, 2, b"ab"): [Control(ACCEPT, (b"", b"ab"))],
    b"": [],
}


def test_conformance() -> None:
    check_framer(
        Fstrm(),
        examples=EXAMPLES,
        malformed={
            b"\0\0\0\0\0\0\0\0": "control frame of 0 bytes, it must be from 4 to 512",
            b"\0\0\0\0\0\0\0\3abc": "control frame of 3 bytes",
            b"\0\0\0\0\0\0\2\1": "control frame of 513 bytes",
            b"\0\0\0\0\xff\xff\xff\xff": "control frame of 4294967295 bytes",
            b"\xff\xff\xff\xff": "frame of 4294967295 bytes exceeds the limit",
            control(0): "control frame of unknown type 0",
            control(6): "control frame of unknown type 6",
            control(4, b"\0\0"): "control frame that breaks off",
            control(4, 1): "control frame that breaks off",
            control(4, 2, 0): "control field of unknown type 2",
            control(4, 1, 5, b"abcd"): "content type of 5 bytes",
            control(4, 1, 257, b"x" * 257): "content type of 257 bytes",
            control(2, 1, 1, b"a", 1, 1, b"b"): "START with 2 content types, limit 1",
            control(3, 1, 1, b"a"): "STOP with 1 content types, limit 0",
            control(5, 1, 1, b"a"): "FINISH with 1 content types, limit 0",
        },
        incomplete=[b"\0", b"\0\0\0\5", b"\0\0\0\5hell", b"\0\0\0\0", b"\0\0\0\0\0\0\0", control(3)[:-1]],
        slow_frame=lambda size: size.to_bytes(4, "big") + b"x" * size,
    )


def test_a_bad_control_frame_leaves_the_stream_in_step() -> None:
    bad: list[PayloadError] = []
    wire = b"\0\0\0\1a" + control(9) + b"\0\0\0\1b"
    assert list(iter_frames(wire, Fstrm(), on_payload_error=bad.append)) == [b"a", b"b"]
    assert [(error.reason, error.offset) for error in bad] == [("control frame of unknown type 9", 5)]


@pytest.mark.parametrize(("frame", "complaint"), [
    (b"", "data frame of 0 bytes, it must be from 1 to 4294967295"),
    (bytes(65), "frame of 65 bytes exceeds the limit 64"),
    (Control(READY, (b"x" * 257,)), "content type of 257 bytes, limit 256"),
    (Control(READY, (b"x" * 256,) * 2), "control frame of 532 bytes, limit 512"),
    (Control(READY, (b"x" * 64,)), "frame of 76 bytes exceeds the limit 64"),
    (Control(START, (b"a", b"b")), "START with 2 content types, limit 1"),
    (Control(STOP, (b"a",)), "STOP with 1 content types, limit 0"),
    (Control(7), "7 is not a valid ControlType"),  # type: ignore[arg-type]  # on purpose
])  # fmt: skip
def test_what_cannot_be_written_is_refused(frame: bytes | Control, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        Fstrm(max_size=64).encode(frame)


# The handshake


def test_both_ends_of_a_stream_in_two_directions() -> None:
    writing, reading = Writing(DNSTAP), Reading(DNSTAP)
    accept = reading.add(writing.ready)
    assert accept == Control(ACCEPT, (DNSTAP,))
    assert not writing.started
    start = writing.add(accept)
    assert start == Control(START, (DNSTAP,))
    assert writing.started
    assert reading.add(start) is None
    assert reading.add(b"data") == b"data"
    finish = reading.add(writing.stop)
    assert finish == Control(FINISH)
    assert reading.finished
    assert not writing.finished
    assert writing.add(finish) is None
    assert writing.finished


def test_a_stream_in_one_direction_is_not_answered() -> None:
    reading = Reading(DNSTAP)
    frames: list[bytes | Control] = [Control(START, (DNSTAP,)), b"a", b"b", Control(STOP)]
    assert [reading.add(frame) for frame in frames] == [None, b"a", b"b", None]
    assert reading.finished


def test_content_types_need_not_be_named() -> None:
    assert Reading(DNSTAP).add(Control(READY)) == Control(ACCEPT, (DNSTAP,))
    assert Reading().add(Control(READY, (b"a", b"b"))) == Control(ACCEPT, (b"a", b"b"))
    assert Writing().add(Control(ACCEPT, (b"a",))) == Control(START)
    assert Writing(DNSTAP).add(Control(ACCEPT)) == Control(START, (DNSTAP,))


@pytest.mark.parametrize(("frames", "complaint"), [
    ([b"data"], "data before START"),
    ([Control(READY), b"data"], "data between READY and START"),
    ([Control(READY), Control(READY)], "READY between READY and START"),
    ([Control(STOP)], "STOP before START"),
    ([Control(ACCEPT)], "ACCEPT before START"),
    ([Control(START), Control(START)], "START after START"),
    ([Control(START), Control(STOP), b"data"], "data after STOP"),
    ([Control(START), Control(STOP), Control(STOP)], "STOP after STOP"),
    ([Control(READY, (b"other",))], "content types .*other.*, not b'protobuf:dnstap.Dnstap'"),
    ([Control(READY, (b"other", DNSTAP)), Control(START, (b"other",))], "content types"),
])  # fmt: skip
def test_a_reader_refuses_what_cannot_stand_there(frames: list[bytes | Control], complaint: str) -> None:
    reading = Reading(DNSTAP)
    for frame in frames[:-1]:
        reading.add(frame)
    with pytest.raises(HandshakeError, match=complaint):
        reading.add(frames[-1])


@pytest.mark.parametrize(("frames", "complaint"), [
    ([b"data"], "data between READY and START"),
    ([Control(FINISH)], "FINISH between READY and START"),
    ([Control(ACCEPT), Control(ACCEPT)], "ACCEPT after START"),
    ([Control(ACCEPT), Control(FINISH), Control(FINISH)], "FINISH after FINISH"),
    ([Control(ACCEPT, (b"other",))], "content types .*other.*, not"),
])  # fmt: skip
def test_a_writer_refuses_what_cannot_stand_there(frames: list[bytes | Control], complaint: str) -> None:
    writing = Writing(DNSTAP)
    for frame in frames[:-1]:
        writing.add(frame)
    with pytest.raises(HandshakeError, match=complaint):
        writing.add(frames[-1])
