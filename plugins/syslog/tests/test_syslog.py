"""Syslog: RFC 6587's two framings on one stream, hostile lengths, and the kit."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import (
    NEED_DATA,
    EncodeError,
    FrameDecoder,
    FrameTooLarge,
    IncompleteFrame,
    iter_frames,
)
from framestream.testing import check_framer
from framestream_syslog import Syslog

# The first example of RFC 5424 6.5.
SU = b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed on /dev/pts/8"
COUNTED: dict[bytes, list[bytes]] = {
    b"%d %s" % (len(SU), SU): [SU],
    b"1 a9 <13>b\nc\n\n2 \0\xff3    ": [b"a", b"<13>b\nc\n\n", b"\0\xff", b"   "],
    b"": [],
}
LINES: dict[bytes, list[bytes]] = {
    SU + b"\n": [SU],
    b"<1>\n<2>a\r\n<3>9 b\n": [b"<1>", b"<2>a\r", b"<3>9 b"],
    b"<1>a\0<2>b\n<3>c\0": [b"<1>a", b"<2>b", b"<3>c"],
}
MALFORMED = {
    b"0 ": "frame begins with b'0', not with a digit from 1 to 9",
    b"01 a": "frame begins with b'0'",
    b" 1 a": "frame begins with b' '",
    b"-1 a": "frame begins with b'-'",
    b"hello\n": "frame begins with b'h'",
    b"\xd9\xa3 abc": "frame begins with b'\\xd9'",
    b"1 a12x": "length ends with b'x', not with a space (at offset 5)",
    b"9999999999999999999 ": "frame of 9999999999999999999 bytes exceeds the limit",
    b"3:abc": "length ends with b':', not with a space",
    b"3\tabc": "length ends with b'\\t'",
    b"3<1>\n": "length ends with b'<'",
    b"1_0 a": "length ends with b'_'",
    b"12345678901234567890 ": "length of more than 19 digits",
    b"GET / HTTP/1.1\r\n": "frame begins with b'G'",
}
COUNTED_BEGUN = [b"1", b"12", b"12 ", b"12 hello"]
LINE_BEGUN = [b"<", b"<34>", b"<34>hello\r"]


def counted(size: int) -> bytes:
    return b"%d %s" % (size, b"x" * size)


def test_conformance_when_the_first_byte_tells() -> None:
    check_framer(
        Syslog(),
        examples={
            **COUNTED,
            **LINES,
            b"".join(COUNTED) + b"".join(LINES) + b"1 z": [
                *(frame for frames in (*COUNTED.values(), *LINES.values()) for frame in frames),
                b"z",
            ],
        },
        malformed=MALFORMED,
        incomplete=COUNTED_BEGUN + LINE_BEGUN,
        slow_frame=lambda size: b"<" + b"x" * size + b"\n",
    )


def test_conformance_when_all_are_counted() -> None:
    check_framer(
        Syslog("octet-counting"),
        examples=COUNTED,
        malformed=MALFORMED | {b"<34>hello\n": "begins with b'<', not with a digit from 1 to 9"},
        incomplete=COUNTED_BEGUN,
        slow_frame=counted,
    )


@pytest.mark.parametrize("trailer", [b"\n", b"\0", b"\r\n", b"--", None])
def test_conformance_when_none_is_counted(trailer: bytes | None) -> None:
    framer, trailer = Syslog("non-transparent", trailer=trailer), trailer or b"\n"
    check_framer(
        framer,
        examples={
            b"".join(message + trailer for message in messages): messages
            for messages in ([SU, b"", b"12 hello", b"plain"], [b"-\r", b"-"])
            if not (trailer == b"--" and b"-" in messages)
        },
        incomplete=[b"<34>", b"1", trailer[:-1] or b"x"],
        slow_frame=lambda size: (
            trailer[:1] * (size if len(trailer) > 1 and trailer != b"--" else 0) + b"x" * size + trailer
        ),
    )


def test_conformance_with_another_trailer() -> None:
    check_framer(
        Syslog(trailer=b"\r\n"),
        examples={b"<1>a\nb\r\n3 a\r\n<2>\r\r\n": [b"<1>a\nb", b"a\r\n", b"<2>\r"]},
        incomplete=[b"<1>\r"],
    )


@pytest.mark.parametrize("framing", ["auto", "octet-counting"])
@pytest.mark.parametrize("between", [b"\n", b"\r\n", b"\0", b"\n\n\r\n\0"])
def test_line_ends_before_a_message_belong_to_no_frame(framing: Any, between: bytes) -> None:
    check_framer(Syslog(framing), examples={between.join([b"", b"5 <13>a", b"5 <13>b", b""]): [b"<13>a", b"<13>b"]})


@pytest.mark.parametrize("framing", ["auto", "non-transparent"])
def test_the_last_message_may_lack_its_trailer_where_that_is_asked_for(framing: Any) -> None:
    check_framer(
        Syslog(framing, last=True),
        examples={b"<13>a\n<13>b": [b"<13>a", b"<13>b"], b"<13>a\n": [b"<13>a"], b"": []},
        slow_frame=lambda size: b"<" + b"x" * size,
    )


def test_a_count_is_complete_only_with_all_it_counts() -> None:
    with pytest.raises(IncompleteFrame):
        list(iter_frames(b"6 <13>b", Syslog(last=True)))


def test_an_endless_line_is_discarded_in_constant_memory() -> None:
    decoder = FrameDecoder(max_frame_size=1000, on_oversize="discard")
    decoder.receive_data(b"<1>")
    for _ in range(1000):
        decoder.receive_data(b"x" * 10_000)
        assert decoder.next_frame(Syslog()) is NEED_DATA
    decoder.receive_data(b"\n2 ok")
    assert decoder.next_frame(Syslog()) == b"ok"
    assert decoder.stats.high_water < 12_000


@pytest.mark.parametrize(("framer", "wire"), [
    (Syslog(), b"6 <1>two"),
    (Syslog("octet-counting"), b"6 <1>two"),
    (Syslog("non-transparent"), b"<1>two\n"),
    (Syslog("non-transparent", trailer=b"\0"), b"<1>two\0"),
])  # fmt: skip
def test_what_is_written(framer: Syslog, wire: bytes) -> None:
    assert b"".join(framer.encode(b"<1>two")) == wire


@pytest.mark.parametrize(("framer", "message", "complaint"), [
    (Syslog(), b"", "an empty message cannot be counted"),
    (Syslog("non-transparent"), b"a\0b", r"message with the trailer b'\\n' in it, at 1"),
    (Syslog("non-transparent"), b"a\nb", r"message with the trailer b'\\n' in it, at 1"),
    (Syslog("non-transparent", trailer=b"--"), b"a-", "message with the trailer b'--' in it, at 1"),
    (Syslog(max_size=3), b"long", "payload of 4 bytes exceeds the limit 3"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(framer: Syslog, message: bytes, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(message)


def test_other_protocols_are_recognised() -> None:
    counted_only = Syslog("non-transparent", max_size=5)
    with pytest.raises(FrameTooLarge, match="looks like an HTTP request"):
        list(iter_frames(b"GET /index.html HTTP/1.1 and so on, without an end", counted_only))
    with pytest.raises(FrameTooLarge, match="looks like a TLS hello"):
        list(iter_frames(b"\x16\x03" + b"x" * 50, counted_only))


@pytest.mark.parametrize(("options", "complaint"), [
    ({"framing": "lines"}, "it must be one of auto, octet-counting, non-transparent"),
    ({"trailer": b""}, "it must be bytes, at least one"),
    ({"trailer": "x"}, "it must be bytes, at least one"),
])  # fmt: skip
def test_options_are_checked(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Syslog(**options)
