"""Heads: RFC 9112's rules, what request smuggling lives on, and the kit."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from framestream import (
    END,
    NEED_DATA,
    EncodeError,
    Exactly,
    FrameDecoder,
    Framer,
    FrameTooLarge,
    UntilClose,
    Window,
    iter_frames,
)
from framestream.testing import check_framer
from framestream_http import (
    Chunked,
    Fields,
    HttpChunk,
    HttpChunked,
    HttpRequest,
    HttpResponse,
    RequestHead,
    ResponseHead,
    body_of,
)

HOST: Fields = ((b"Host", b"a"),)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS: dict[bytes, list[RequestHead]] = {
    # The example of RFC 9112 3.2.1, and forms 3.2.2 to 3.2.4.
    b"GET /where?q=now HTTP/1.1\r\nHost: www.example.org\r\n\r\n": [
        RequestHead(b"GET", b"/where?q=now", ((b"Host", b"www.example.org"),))
    ],
    b"GET http://www.example.org/pub HTTP/1.1\r\nHost: a\r\n\r\n"
    b"CONNECT www.example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n"
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n": [
        RequestHead(b"GET", b"http://www.example.org/pub", HOST),
        RequestHead(b"CONNECT", b"www.example.com:80", HOST),
        RequestHead(b"OPTIONS", b"*", HOST),
    ],
    b"GET / HTTP/1.0\r\n\r\n": [RequestHead(b"GET", b"/", (), 0)],
    b"POST / HTTP/1.1\r\nhost:\r\nContent-Length:5\r\nX:  a b\t \r\nY: \xe9\r\n\r\n": [
        RequestHead(b"POST", b"/", ((b"host", b""), (b"Content-Length", b"5"), (b"X", b"a b"), (b"Y", b"\xe9")))
    ],
    b"POST / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: gzip , Chunked\r\n\r\n": [
        RequestHead(b"POST", b"/", ((b"Host", b"[::1]:80"), (b"Transfer-Encoding", b"gzip , Chunked")))
    ],
    b"PUT / HTTP/1.1\r\nContent-Length: 5, 5\r\nHost: a\r\ncontent-length: 05\r\n\r\n": [
        RequestHead(b"PUT", b"/", ((b"Content-Length", b"5, 5"), (b"Host", b"a"), (b"content-length", b"05")))
    ],
    b"\r\n\r\n" + GET + b"\r\n" + GET: [RequestHead(b"GET", b"/", HOST)] * 2,
    b"": [],
}


def request(lines: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n"


# What the two ends of a chain of servers may take differently: RFC 9112 11.2 and what has been found since.
SMUGGLING: dict[bytes, str] = {
    request(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"): "both Transfer-Encoding and Content-Length",
    request(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"): "both Transfer-Encoding and Content-Length",
    request(b"Content-Length: 5\r\nContent-Length: 6\r\n"): "Content-Length is 5 and 6",
    request(b"Content-Length: 5, 6\r\n"): "Content-Length is 5 and 6",
    request(b"Content-Length: +5\r\n"): "Content-Length b'+5' is not a number",
    request(b"Content-Length: -5\r\n"): "is not a number",
    request(b"Content-Length: 5 5\r\n"): "is not a number",
    request(b"Content-Length: 0x5\r\n"): "is not a number",
    request(b"Content-Length: 5_0\r\n"): "is not a number",
    request(b"Content-Length: \r\n"): "is not a number",
    request(b"Content-Length: 5,\r\n"): "is not a number",
    request(b"Content-Length: 10000000000000000000\r\n"): "is not a number of at most 19 digits",
    request(b"Transfer-Encoding: xchunked\r\n"): "does not end with chunked",
    request(b"Transfer-Encoding: identity\r\n"): "does not end with chunked",
    request(b"Transfer-Encoding: chunked, identity\r\n"): "a coding after chunked",
    request(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"): "a coding after chunked",
    request(b"Transfer-Encoding: chunked, chunked\r\n"): "a coding after chunked",
    request(b"Transfer-Encoding: chunked;q=1\r\n"): "chunked with a parameter",
    request(b'Transfer-Encoding: "chunked"\r\n'): "is not a list of codings",
    request(b"Transfer-Encoding: ,chunked\r\n"): "is not a list of codings",
    request(b"Transfer-Encoding: \x0bchunked\r\n"): "is not a field",
    request(b"Transfer-Encoding : chunked\r\n"): "white space between a field's name and its colon",
    request(b"Transfer-Encoding\t: chunked\r\n"): "white space between a field's name and its colon",
    request(b"Transfer-Encoding:\r\n chunked\r\n"): "is not a list of codings",
    request(b"X: y\r\n Transfer-Encoding: chunked\r\n"): "folded fields are refused",
    request(b"X: y\r\n\tz\r\n"): "folded fields are refused",
    request(b"X: y\nTransfer-Encoding: chunked\r\n"): "LF without CR",
    request(b"X: y\rTransfer-Encoding: chunked\r\n"): "CR without LF",
    request(b"X: y\r\r\nTransfer-Encoding: chunked\r\n"): "CR without LF",
    request(b"X: a\0b\r\n"): "is not a field",
    request(b"X: a\x7f\r\n"): "is not a field",
    request(b"X\0: a\r\n"): "is not a field",
    request(b": a\r\n"): "is not a field",
    request(b"X\r\n"): "is not a field",
    request(b"X\xe9: a\r\n"): "is not a field",
    request(b"X y: a\r\n"): "is not a field",
    request(b"Host: b\r\n"): "request with two Host fields",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n": "Transfer-Encoding in HTTP/1.0",
    b"GET / HTTP/1.1\r\n\r\n": "HTTP/1.1 request without Host",
    b"GET / HTTP/1.1\r\nHost: a,b\x01\r\n\r\n": "is not a field",
    b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n": "Host b'a/b' is malformed",
    b"GET / HTTP/1.1\r\n Host: a\r\n\r\n": "folded fields are refused",
}
BAD_LINES: dict[bytes, str] = {
    GET + b"GET / HTTP/1.1\r\nX y: z\r\n": "is not a field (at offset 43)",
    b"GET  / HTTP/1.1\r\n": "is not a request line",
    b"GET\t/ HTTP/1.1\r\n": "is not a request line",
    b"GET /\r\n": "is not a request line",
    b"GET / HTTP/1.1 \r\n": "is not a request line",
    b"GET / HTTP/2.0\r\n": "is not a request line",
    b"GET / http/1.1\r\n": "is not a request line",
    b"GET / HTTP/1.10\r\n": "is not a request line",
    b"GET /a b HTTP/1.1\r\n": "is not a request line",
    b"GET /\x80 HTTP/1.1\r\n": "is not a request line",
    b"GET a HTTP/1.1\r\n": "b'a' is not a target of GET",
    b"GET * HTTP/1.1\r\n": "b'*' is not a target of GET",
    b"CONNECT / HTTP/1.1\r\n": "b'/' is not a target of CONNECT",
    b"CONNECT a@b:80 HTTP/1.1\r\n": "is not a target of CONNECT",
    b"GET / HTTP/1.1\n": "LF without CR",
    b"\n": "b'\\n' begins no method",
    b"\x16\x03\x01": "b'\\x16' begins no method",
    b" GET / HTTP/1.1\r\n": "b' ' begins no method",
}


def long_head(size: int) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * (size // 6) + b"\r\n"


def test_conformance_of_requests() -> None:
    check_framer(
        HttpRequest(),
        examples=REQUESTS,
        malformed=SMUGGLING | BAD_LINES,
        incomplete=[b"G", b"GET / HTTP/1.1", GET[:-4], GET[:-2], GET[:-1]],
        slow_frame=long_head,
    )


def test_conformance_of_requests_with_bare_line_feeds() -> None:
    check_framer(
        HttpRequest(bare_lf=True),
        examples={
            **REQUESTS,
            b"\nGET / HTTP/1.1\nHost: a\r\nX:y\n\n": [RequestHead(b"GET", b"/", (*HOST, (b"X", b"y")))],
            b"GET / HTTP/1.1\nHost: a\n\r\n": [RequestHead(b"GET", b"/", HOST)],
        },
        malformed={b"GET / HTTP/1.1\nX: y\r\r\n": "CR without LF", b"GET /\n": "is not a request line"},
        incomplete=[b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\nHost: a\n"],
        slow_frame=lambda size: long_head(size).replace(b"\r", b""),
    )


RESPONSES: dict[bytes, list[ResponseHead]] = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n": [ResponseHead(200, b"OK", ((b"Content-Length", b"5"),))],
    b"HTTP/1.1 404 Not Found\r\n\r\nHTTP/1.0 200 \r\n\r\n": [
        ResponseHead(404, b"Not Found"),
        ResponseHead(200, minor=0),
    ],
    b"HTTP/1.1 999 \xe9t\xe9\r\nTransfer-Encoding: gzip\r\nHost: a b\r\n\r\n": [
        ResponseHead(999, b"\xe9t\xe9", ((b"Transfer-Encoding", b"gzip"), (b"Host", b"a b")))
    ],
    b"HTTP/1.1 204\r\n\r\n": [ResponseHead(204)],
    b"\r\n\r\nHTTP/1.1 204\r\n\r\n\r\nHTTP/1.1 205\r\n\r\n": [ResponseHead(204), ResponseHead(205)],
    b"HTTP/1.1 200 OK\r\nX: one\r\n two\r\n\t three\r\nTransfer-Encoding:\r\n chunked\r\n\r\n": [
        ResponseHead(200, b"OK", ((b"X", b"one two three"), (b"Transfer-Encoding", b"chunked")))
    ],
    b"HTTP/1.1 200 OK\r\nX:\r\n \r\n\r\n": [ResponseHead(200, b"OK", ((b"X", b""),))],
    b"": [],
}


def test_conformance_of_responses() -> None:
    check_framer(
        HttpResponse(),
        examples=RESPONSES,
        malformed={
            wire.replace(b"POST / HTTP/1.1", b"HTTP/1.1 200 OK"): reason
            for wire, reason in SMUGGLING.items()
            if wire.startswith(b"POST / HTTP/1.1")
            and "Host" not in reason
            and "does not end" not in reason
            and b"\r\n " not in wire
            and b"\r\n\t" not in wire
        } | {
            b"HTTP/1.1 20 OK\r\n": "is not a status line",
            b"HTTP/1.1 099 OK\r\n": "is not a status line",
            b"HTTP/1.1 2000 OK\r\n": "is not a status line",
            b"HTTP/1.1  200 OK\r\n": "is not a status line",
            b"HTTP/1.1 200 a\0b\r\n": "is not a status line",
            b"HTTP/2.0 200 OK\r\n": "no status line",
            b"HTTP/1.1 200 OK\r\n X: y\r\n\r\n": "folded fields are refused",
            b"HTTP/1.1 200 OK\r\nX: y\r\n z\rw\r\n\r\n": "CR without LF",
            b"HTTP/1.1 200 OK\r\nX: y\r\n z\n\r\n": "LF without CR",
            b"HTTP/1.1 200 OK\r\nX: y\r\n \0\r\n\r\n": "is not a field",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 0\r\n\r\n": "is not a number",
            b"ICY 200 OK\r\n": "no status line",
        },
        incomplete=[b"H", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r"],
        slow_frame=lambda size: b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * (size // 6) + b"\r\n",
    )  # fmt: skip


@pytest.mark.parametrize("line", [b"X: y\r\n", b"X: y\r\n z\r\n", b"Transfer-Encoding: a\r\n"])
def test_lines_of_any_kind_cost_linear_time(line: bytes) -> None:
    def slow(size: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + line * (size // len(line)) + b"\r\n"

    check_framer(HttpResponse(), examples={slow(60): list(iter_frames(slow(60), HttpResponse()))}, slow_frame=slow)


def test_what_is_remembered_of_a_head_does_not_grow_with_its_lines() -> None:
    def memo(lines: int) -> bytes:
        begun = b"HTTP/1.1 200 OK\r\n" + b"Transfer-Encoding: a\r\n" * lines
        found: Any = HttpResponse().find(Window(begun))
        return pickle.dumps(found.memo)

    assert len(memo(1000)) == len(memo(2))


class Asked(HttpRequest):
    """Counts how often it is asked."""

    times = 0

    def find(self, window: Window) -> Any:
        type(self).times += 1
        return super().find(window)


@pytest.mark.parametrize(("bare_lf", "empty"), [(False, b"\r\n"), (True, b"\n"), (True, b"\n\r\n")])
def test_any_number_of_empty_lines_is_one_question(bare_lf: bool, empty: bytes) -> None:
    Asked.times = 0
    assert list(iter_frames(empty * 1000 + GET, Asked(bare_lf))) == [RequestHead(b"GET", b"/", HOST)]
    assert Asked.times <= 4


def test_an_endless_head_comes_to_an_end() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b"GET / HTTP/1.1\r\n")
    for _ in range(1091):
        decoder.receive_data(b"X: y\r\n" * 10)
        assert decoder.next_frame(HttpRequest()) is NEED_DATA
    decoder.receive_data(b"X: y\r\n" * 20)
    with pytest.raises(FrameTooLarge, match="exceeds the limit of 65536 bytes"):
        decoder.next_frame(HttpRequest())


def test_fields_are_found_in_whatever_case() -> None:
    [head] = iter_frames(request(b"A: 1\r\nB: 2\r\na: 3\r\n"), HttpRequest())
    assert head.values(b"A") == [b"1", b"3"]
    assert ResponseHead(200, fields=((b"b", b"2"),)).values(b"B") == [b"2"]


@pytest.mark.parametrize(("head", "method", "body"), [
    (RequestHead(b"GET", b"/", HOST), b"GET", None),
    (RequestHead(b"POST", b"/", (*HOST, (b"Content-Length", b"0"))), b"GET", None),
    (RequestHead(b"POST", b"/", (*HOST, (b"Content-Length", b"7"))), b"GET", Exactly(7)),
    (RequestHead(b"POST", b"/", (*HOST, (b"Transfer-Encoding", b"chunked"))), b"GET", HttpChunk()),
    (ResponseHead(200, fields=((b"Content-Length", b"7"),)), b"GET", Exactly(7)),
    (ResponseHead(200, fields=((b"Content-Length", b"0"),)), b"GET", None),
    (ResponseHead(200, fields=((b"Content-Length", b"7"),)), b"HEAD", None),
    (ResponseHead(304, fields=((b"Content-Length", b"7"),)), b"GET", None),
    (ResponseHead(204), b"GET", None),
    (ResponseHead(100), b"GET", None),
    (ResponseHead(200), b"CONNECT", None),
    (ResponseHead(404), b"CONNECT", UntilClose()),
    (ResponseHead(200), b"GET", UntilClose()),
    (ResponseHead(200, fields=((b"Transfer-Encoding", b"gzip"),)), b"GET", UntilClose()),
    (ResponseHead(200, fields=((b"Transfer-Encoding", b"gzip, chunked"),)), b"GET", HttpChunk()),
])  # fmt: skip
def test_the_head_tells_how_to_read_the_body(head: Any, method: bytes, body: Any) -> None:
    assert body_of(head, method=method) == body


def test_no_body_is_told_from_a_contradiction() -> None:
    fields = ((b"Content-Length", b"7"), (b"Transfer-Encoding", b"chunked"))
    with pytest.raises(ValueError, match="both Transfer-Encoding and Content-Length"):
        body_of(ResponseHead(200, fields=fields))


def test_a_connection_of_heads_and_bodies() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"
        b"GET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    decoder.receive_eof()
    bodies = []
    while (head := decoder.next_frame(HttpRequest())) is not END:
        assert isinstance(head, RequestHead)
        condition = body_of(head)
        if isinstance(condition, HttpChunk):
            condition = HttpChunked()
        bodies.append(None if condition is None else decoder.next_frame(condition))
    assert bodies == [b"hello", Chunked(b"hello", ((b"X", b"y"),)), None]


@pytest.mark.parametrize(("framer", "head"), [
    (HttpRequest(), RequestHead(b"GET", b"/", (*HOST, (b"X", b"y\r\nZ: injected")))),
    (HttpRequest(), RequestHead(b"GET", b"/", (*HOST, (b"X", b" y")))),
    (HttpRequest(), RequestHead(b"GET", b"/", (*HOST, (b"X: y\r\nZ", b"a")))),
    (HttpRequest(), RequestHead(b"GET", b"/", (*HOST, (b"X", b"y\r\n\r\nGET / HTTP/1.1")))),
    (HttpRequest(), RequestHead(b"GET", b"/ HTTP/1.1\r\nX: y\r\n", HOST)),
    (HttpRequest(), RequestHead(b"GET", b"/ HTTP/1.1\r\nX: y\r\nZ: ", HOST)),
    (HttpRequest(), RequestHead(b"GET", b"/a b", HOST)),
    (HttpRequest(), RequestHead(b"GET", b"/", ())),
    (HttpRequest(), RequestHead(b"GET", b"/", HOST, 10)),
    (HttpRequest(), RequestHead("GET", b"/", HOST)),  # type: ignore[arg-type]  # on purpose
    (HttpRequest(bare_lf=True), RequestHead(b"GET", b"/", (*HOST, (b"X", b"y\nZ: a")))),
    (HttpRequest(max_size=10), RequestHead(b"GET", b"/", HOST)),
    (HttpResponse(), ResponseHead(200, b"OK\r\nX: y")),
    (HttpResponse(), ResponseHead(99)),
    (HttpResponse(), ResponseHead(200, b"OK", ((b"Content-Length", b"x"),))),
    (HttpResponse(), ResponseHead(200, b"OK", ((b"X", b"y"), (b"", b"z")))),
])  # fmt: skip
def test_what_would_be_read_otherwise_is_not_written(framer: Framer[Any], head: Any) -> None:
    with pytest.raises(EncodeError, match=r"cannot be written|would be read as something else|exceeds the limit"):
        framer.encode(head)


def test_what_is_written() -> None:
    head = RequestHead(b"GET", b"/", (*HOST, (b"X", b"")))
    assert HttpRequest().encode(head) == b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"
    assert HttpResponse().encode(ResponseHead(200, b"OK")) == b"HTTP/1.1 200 OK\r\n\r\n"


def test_other_protocols_are_recognised() -> None:
    with pytest.raises(FrameTooLarge, match="looks like HTTP/2"):
        list(iter_frames(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpRequest(max_size=3)))
