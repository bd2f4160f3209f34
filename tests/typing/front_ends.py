"""Only has to type-check: the frames of the other front ends are inferred from their framers."""

from __future__ import annotations

import socket
from typing import Any, assert_type

from framestream import LengthPrefix, Line, blocking


def takes_lines(stream: blocking.Stream[str]) -> None:
    assert_type(stream.receive(), str)
    assert_type(stream.receive(timeout=1), str)
    assert_type(stream.receive(LengthPrefix(4), max_size=5), bytes)
    assert_type(stream.receive("line"), Any)
    for line in stream:
        assert_type(line, str)
    stream.send("line")
    stream.send(5)  # type: ignore[call-overload]  # it is no line
    stream.send(b"payload", LengthPrefix(4))
    assert_type(stream.framed(LengthPrefix(4)), blocking.Stream[bytes])


def connecting_gives_a_stream(sock: socket.socket) -> None:
    with blocking.connect("tcp://localhost:1", framer=Line(), timeout=5, idle_timeout=60) as stream:
        takes_lines(stream)
    assert_type(blocking.connect("exec:cat", framer="line"), blocking.Stream[Any])
    assert_type(blocking.framed(sock, Line()), blocking.Stream[str])
    blocking.connect("tcp://localhost:1", max_fame_size=1)  # type: ignore[call-overload]  # no such option


def serving_gives_a_server() -> None:
    with blocking.serve(takes_lines, "tcp://:0", framer=Line()) as server:
        assert_type(server, blocking.Server)
    blocking.serve(takes_lines, "tcp://:0", framer=LengthPrefix(4))  # type: ignore[arg-type]  # these are bytes
    blocking.serve(takes_lines, "tcp://:0", framer=Line(), workers=2, drain_timeout=1, frame_timeout=5)
    blocking.serve(takes_lines, "tcp://:0", framer=Line(), drain_timeout="1")  # type: ignore[arg-type]  # no number
    blocking.serve(takes_lines, "tcp://:0", framer=Line(), most=5)  # type: ignore[call-arg]  # no option
