"""WebSocket: RFC 6455's rules for frames and for what they say together, and the kit."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import EncodeError, FramingError, iter_frames
from framestream.testing import check_framer
from framestream_websocket import (
    Close,
    Frame,
    Messages,
    Opcode,
    Ping,
    Pong,
    WebSocket,
    WebSocketError,
    accept_key,
    close_code,
)

TEXT, BINARY, CONTINUATION = Opcode.TEXT, Opcode.BINARY, Opcode.CONTINUATION

# The examples of section 5.7, and others.
UNMASKED: dict[bytes, list[Frame]] = {
    b"\x81\x05Hello": [Frame(TEXT, b"Hello")],
    b"\x01\x03Hel\x80\x02lo": [Frame(TEXT, b"Hel", fin=False), Frame(CONTINUATION, b"lo")],
    b"\x89\x05Hello\x8a\x05Hello": [Frame(Opcode.PING, b"Hello"), Frame(Opcode.PONG, b"Hello")],
    b"\x82\x7e\x01\x00" + b"x" * 256: [Frame(BINARY, b"x" * 256)],
    b"\x82\x7e\x00\x7e" + b"x" * 126: [Frame(BINARY, b"x" * 126)],
    b"\x88\x00\x88\x02\x03\xe8\x88\x05\x03\xe8bye": [
        Frame(Opcode.CLOSE),
        Frame(Opcode.CLOSE, b"\x03\xe8"),
        Frame(Opcode.CLOSE, b"\x03\xe8bye"),
    ],
    b"\x81\x00\x00\x00\x80\x00": [Frame(TEXT), Frame(CONTINUATION, fin=False), Frame(CONTINUATION)],
    b"": [],
}
MASKED: dict[bytes, list[Frame]] = {
    b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58": [Frame(TEXT, b"Hello")],
    b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58": [Frame(Opcode.PONG, b"Hello")],
    b"\x82\xfe\x00\x80\0\0\0\0" + b"x" * 128: [Frame(BINARY, b"x" * 128)],
    b"\x88\x80abcd\x82\x80\xff\xff\xff\xff": [Frame(Opcode.CLOSE), Frame(BINARY)],
}
BAD_FIRST = {
    b"\x83": "reserved opcode 3",
    b"\x87": "reserved opcode 7",
    b"\x8b": "reserved opcode 11",
    b"\x8f": "reserved opcode 15",
    b"\xc1": "reserved bits 100, allowed are 000",
    b"\x91": "reserved bits 001",
    b"\x08": "CLOSE in fragments",
    b"\x09": "PING in fragments",
    b"GET / HTTP/1.1\r\n": "reserved bits 100",
}


def test_conformance_of_what_servers_send() -> None:
    check_framer(
        WebSocket(masked=False),
        examples=UNMASKED,
        malformed=BAD_FIRST
        | {
            b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58": "a masked frame from a server",
            b"\x89\x7e\x00\x7e": "PING of more than 125 bytes",
            b"\x88\x7f": "CLOSE of more than 125 bytes",
            b"\x82\x7f\x7f" + b"\xff" * 7: "frame of 9223372036854775807 bytes exceeds the limit",
            b"\x88\x01a": "CLOSE of one byte",
            b"\x81\x7e\x00\x7d": "length 125 in 2 bytes",
            b"\x81\x7f\0\0\0\0\0\0\xff\xff": "length 65535 in 8 bytes",
            b"\x81\x7f\x80\0\0\0\0\0\0\0": "length 9223372036854775808 in 8 bytes",
        },
        incomplete=[b"\x81", b"\x81\x05", b"\x81\x05Hell", b"\x82\x7e", b"\x82\x7e\x01", b"\x82\x7f\0\0\0\0\0\1\0"],
        slow_frame=lambda size: b"\x82\x7e" + size.to_bytes(2, "big") + b"x" * size,
    )


def test_conformance_of_what_clients_send() -> None:
    check_framer(
        WebSocket(),
        examples=MASKED,
        malformed=BAD_FIRST
        | {
            b"\x81\x05Hello": "a frame without a mask from a client",
            b"\x89\xfe": "PING of more than 125 bytes",
            b"\x88\x81abcda": "CLOSE of one byte",
        },
        incomplete=[b"\x81", b"\x81\x85", b"\x81\x85abc", b"\x81\x85abcdefgh", b"\x81\xfe\1\0abc"],
        slow_frame=lambda size: b"".join(WebSocket().encode(Frame(BINARY, b"x" * size))),
    )


def test_conformance_with_an_extension() -> None:
    check_framer(
        WebSocket(masked=False, rsv=4),
        examples={b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00": [Frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4)]},
        malformed={b"\xa1": "reserved bits 010, allowed are 100", b"\xe1": "reserved bits 110"},
    )


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_001])
@pytest.mark.parametrize("masked", [False, True])
def test_lengths_are_written_in_as_few_bytes_as_they_need(size: int, masked: bool) -> None:
    payload = bytes(index * 7 % 256 for index in range(size))
    framer = WebSocket(masked=masked)
    wire = b"".join(framer.encode(Frame(BINARY, payload)))
    extended = 0 if size < 126 else 2 if size < 65536 else 8
    assert len(wire) == 2 + extended + 4 * masked + size
    assert list(iter_frames(wire, framer)) == [Frame(BINARY, payload)]


def test_each_masked_frame_has_its_own_key() -> None:
    wires = {b"".join(WebSocket().encode(Frame(TEXT, b"Hello"))) for _ in range(10)}
    assert len(wires) == 10


@pytest.mark.parametrize(("frame", "complaint"), [
    (Frame(3), "reserved opcode 3"),  # type: ignore[arg-type]  # on purpose
    (Frame(16), "opcode 16"),  # type: ignore[arg-type]  # on purpose
    (Frame(TEXT, rsv=4), "reserved bits 100, allowed are 000"),
    (Frame(TEXT, rsv=8), "reserved bits 8 do not fit"),
    (Frame(Opcode.PING, fin=False), "PING in fragments"),
    (Frame(Opcode.PING, bytes(126)), "PING of 126 bytes"),
    (Frame(Opcode.CLOSE, b"a"), "CLOSE of 1 byte"),
    (Frame(TEXT, bytes(129)), "payload of 129 bytes exceeds the limit 128"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(frame: Frame, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        WebSocket(max_size=128).encode(frame)


@pytest.mark.parametrize("rsv", [-1, 8, "4"])
def test_options_are_checked(rsv: Any) -> None:
    with pytest.raises(ValueError, match="it must be from 0 to 7"):
        WebSocket(rsv=rsv)


# Messages


def say(*frames: Frame, max_size: int = 1 << 20) -> list[Any]:
    messages = Messages(max_size=max_size)
    return [event for frame in frames if (event := messages.add(frame)) is not None]


def test_fragments_make_a_message() -> None:
    assert say(
        Frame(TEXT, "\u20ac".encode()[:1], fin=False),
        Frame(CONTINUATION, "\u20ac".encode()[1:2], fin=False),
        Frame(CONTINUATION, "\u20ac".encode()[2:]),
        Frame(BINARY, b"", fin=False),
        Frame(CONTINUATION, b"\0\xff"),
        Frame(TEXT),
        Frame(BINARY),
    ) == ["\u20ac", b"\0\xff", "", b""]


def test_control_frames_may_stand_between_fragments() -> None:
    assert say(
        Frame(TEXT, b"a", fin=False),
        Frame(Opcode.PING, b"1"),
        Frame(CONTINUATION, b"b", fin=False),
        Frame(Opcode.PONG, b"2"),
        Frame(CONTINUATION, b"c"),
    ) == [Ping(b"1"), Pong(b"2"), "abc"]
    assert Ping(b"1").answer() == Frame(Opcode.PONG, b"1")


def test_what_follows_a_close_is_ignored() -> None:
    closes = [Frame(Opcode.CLOSE, b"\x03\xe8bye"), Frame(TEXT, b"more"), Frame(Opcode.CLOSE)]
    assert say(*closes) == [Close(1000, "bye")]
    assert say(Frame(Opcode.CLOSE)) == [Close()]


@pytest.mark.parametrize(("frames", "code", "complaint"), [
    ([Frame(CONTINUATION, b"a")], 1002, "a fragment that continues no message"),
    ([Frame(TEXT, fin=False), Frame(TEXT)], 1002, "a message inside another one"),
    ([Frame(TEXT, fin=False), Frame(CONTINUATION), Frame(CONTINUATION)], 1002, "continues no message"),
    ([Frame(TEXT, b"\xff")], 1007, "text that is not UTF-8"),
    ([Frame(TEXT, b"\xed\xa0\x80")], 1007, "text that is not UTF-8"),
    ([Frame(TEXT, b"\xe2\x82")], 1007, "text that is not UTF-8"),
    ([Frame(TEXT, b"\xe2", fin=False), Frame(CONTINUATION, b"a", fin=False)], 1007, "not UTF-8"),
    ([Frame(BINARY, b"abc", fin=False), Frame(CONTINUATION, b"de")], 1009, "message of 5 bytes exceeds"),
    *(
        ([Frame(Opcode.CLOSE, code.to_bytes(2, "big"))], 1002, f"CLOSE with code {code}")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    ),
    ([Frame(Opcode.CLOSE, b"\x03\xe8\xff")], 1007, "a reason that is not UTF-8"),
    ([Frame(Opcode.CLOSE, b"\x03")], 1002, "CLOSE with code 3"),
])  # fmt: skip
def test_frames_that_make_no_sense_together(frames: list[Frame], code: int, complaint: str) -> None:
    with pytest.raises(WebSocketError, match=complaint) as caught:
        say(*frames, max_size=4)
    assert close_code(caught.value) == code


def test_a_broken_frame_is_a_protocol_error() -> None:
    for wire, code in ((b"\x83", 1002), (b"\x82\xff\x7f" + b"\xff" * 11, 1009)):
        with pytest.raises(FramingError) as caught:
            list(iter_frames(wire, WebSocket()))
        assert close_code(caught.value) == code


def test_a_close_is_written() -> None:
    assert Close(1001, "gone").frame() == Frame(Opcode.CLOSE, b"\x03\xe9gone")
    assert Close().frame() == Frame(Opcode.CLOSE)
    for close in (Close(1006), Close(1005, "why"), Close(1000, "x" * 124)):
        with pytest.raises(ValueError, match="cannot be sent"):
            close.frame()


def test_the_handshake_answers_the_key() -> None:
    # The example of section 1.3.
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
