"""The base protocol: headers as the specification has them, broken ones, hostile sizes, and the kit."""

from __future__ import annotations

from typing import Any

import pytest

from framestream import (
    NEED_DATA,
    EncodeError,
    FrameDecoder,
)
from framestream.testing import check_framer
from framestream_lsp import Lsp


def message(content: bytes, header: bytes = b"") -> bytes:
    return b"Content-Length: %d\r\n%b\r\n%b" % (len(content), header, content)


VSCODE = b"Content-Type: application/vscode-jsonrpc; charset="
MALFORMED = {
    b"\r\n{}": "header without Content-Length",
    b"Content-Type: x\r\n\r\n{}": "header without Content-Length",
    b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}": "a second Content-Length",
    b"Content-Length: -1\r\n\r\n": "Content-Length is b'-1'",
    b"Content-Length: +2\r\n\r\n{}": "Content-Length is b'+2'",
    b"Content-Length: 0x2\r\n\r\n{}": "Content-Length is b'0x2'",
    b"Content-Length: 1_0\r\n\r\n": "Content-Length is b'1_0'",
    b"Content-Length: 2 2\r\n\r\n": "Content-Length is b'2 2'",
    b"Content-Length:\r\n\r\n": "Content-Length is b''",
    b"Content-Length: 1234567890123456\r\n\r\n": "Content-Length is b'1234567890123456'",
    b"Content-Length: \xd9\xa2\r\n\r\n{}": "Content-Length is",
    b"Content-Length 2\r\n\r\n{}": "b' ' in the name of a header field",
    b"Content-Length : 2\r\n\r\n{}": "b' ' in the name of a header field",
    b"Content-Length: 2\n\n{}": "LF without CR",
    b"Content-Length: 2\r\n\n{}": "b'\\n' in the name",
    b"Content-Length: 2\r\n\rX\r\n{}": "b'\\r' in the name",
    message(b"{}") + b"Content-Length: 2\r\nX y: z\r\n\r\n": "in the name of a header field (at offset 43)",
    b"Content-Length: 999999999999999\r\n\r\n{": "frame of 999999999999999 bytes exceeds the limit",
    b": 2\r\n\r\n": "b':' in the name of a header field",
    b'{"jsonrpc": "2.0"}': "b'{' in the name of a header field; a JSON text without its header?",
    b"[": "a JSON text without its header?",
    b"\0\0\0\2{}": "b'\\x00' in the name",
    b"X: " + b"x" * 4096: "header of more than 4096 bytes",
    b"X" * 5000 + b" ": "header of more than 4096 bytes",
    message(b"{}x"): "Extra data",
    message(b"{"): "Expecting",
    message(b"\xff\xff"): "utf-8",
    message(b"NaN"): "NaN is not JSON",
    message(b""): "Expecting value",
    message(b"[" * 251 + b"]" * 251): "nested more than 250 deep",
    message(b"{}", VSCODE + b"utf-16\r\n"): "content in 'utf-16'; it must be in utf-8",
}


def test_conformance() -> None:
    check_framer(
        Lsp(),
        examples=[
            (message(b'{"jsonrpc": "2.0"}') + message(b"[]"), [{"jsonrpc": "2.0"}, []]),
            (b"content-length:2\r\nX-Other: y\r\n\r\n{}" + message(b"1"), [{}, 1]),
            (b"X: y\r\nCONTENT-LENGTH: \t 002 \r\n\r\n{}", [{}]),
            (message(b"{}", VSCODE + b"utf-8\r\n") + message(b"{}", VSCODE + b'"UTF8"\r\n'), [{}, {}]),
            (message(b"{}", b"Content-Type: application/json\r\n"), [{}]),
            (message('"Zoë €😀"'.encode()), ["Zoë €😀"]),
            (b"", []),
        ],
        malformed=MALFORMED,
        incomplete=[b"C", b"Content-Length", b"Content-Length: 2\r", b"\r", message(b"")[:-1], message(b"{}")[:-1]],
        slow_frame=lambda size: message(b'"' + b"x" * size + b'"'),
    )


def test_conformance_with_a_short_header() -> None:
    check_framer(
        Lsp(max_header=23),
        examples={message(b"{}") + message(b"[%s1]" % (b"1," * 10)): [{}, [1] * 11]},
        malformed={
            b"X: y\r\n" + message(b"{}"): "header of more than 23 bytes",
            message(b"x" * 1000): "header of more than 23 bytes",
        },
    )


@pytest.mark.parametrize("header", [
    lambda size: message(b"1", b"X: y\r\n" * (size // 6)),
    lambda size: message(b"1", b"X:%b y \r\n" % (b" " * size)),
    lambda size: message(b"1", b"X" * (size + 1) + b": y\r\n"),
    lambda size: message(b"1").replace(b": ", b":" + b" \t" * (size // 2)),
    lambda size: message(b"1").replace(b"1\r", b"1" + b" " * size + b"\r"),
    lambda size: message(b"1", b"Content-Type: x;%b charset=utf-8\r\n" % (b" " * size)),
])  # fmt: skip
def test_no_byte_of_a_header_that_drips_in_is_looked_at_twice(header: Any) -> None:
    check_framer(Lsp(), examples={header(0): [1]}, slow_frame=header)


def test_a_header_is_no_part_of_what_the_limit_counts() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"X: %b\r\n" % (b"x" * 3000) + message(b"{}"))
    assert decoder.next_frame(Lsp(), max_size=2) == {}
    assert decoder.next_frame(Lsp()) is NEED_DATA


@pytest.mark.parametrize("value", [object(), "too long"])
def test_what_cannot_be_written_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError):
        Lsp(max_size=5).encode(value)


@pytest.mark.parametrize("options", [{"max_header": 20}, {"max_header": "1"}, {"max_depth": 0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it must be"):
        Lsp(**options)
