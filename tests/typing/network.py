"""Only has to type-check: what streams, handlers and their blocking kin are given is inferred from their framer."""

from __future__ import annotations

import socket
from typing import Any, assert_type

from framestream import IOStream, LengthPrefix, Line, Msgpack, blocking, connect, connect_process, serve
from framestream.net import Server
from framestream.stream import Frames


async def takes_a_stream(stream: IOStream) -> None:
    assert_type(await stream.read(Line()), str)


async def takes_lines(stream: IOStream[str]) -> None:
    async for line in stream:
        assert_type(line, str)
        await stream.send(line.upper())
    assert_type(await stream.read(), str)
    assert_type(await stream.read(Msgpack()), Any)
    assert_type(await stream.read("line"), Any)
    assert_type(stream.frames("line"), Frames[Any])
    await stream.send({"op": "ping"}, Msgpack())
    await stream.send(b"bytes are no line")  # type: ignore[call-overload]


async def takes_objects(stream: IOStream) -> None:
    await stream.send([await stream.read()])


async def iterates(stream: IOStream) -> None:
    async for line in stream.frames(Line()):
        assert_type(line, str)
    async for lines in stream.batches(Line()):
        assert_type(lines, list[str])
    async for frame in stream.frames():
        assert_type(frame, Any)
    async for lines in stream.framed(Line()).batches():
        assert_type(lines, list[str])


def chooses_a_framing(stream: IOStream) -> None:
    assert_type(stream, IOStream[Any])
    assert_type(stream.framed(Msgpack()), IOStream[Any])
    assert_type(stream.framed(Line()), IOStream[str])
    assert_type(stream.framed("line"), IOStream[Any])
    assert_type(stream.framed(Line(), LengthPrefix(2)), IOStream[Any])
    assert_type(IOStream(stream.transport, framer=Line()), IOStream[str])
    assert_type(IOStream(stream.transport), IOStream[Any])


def takes_callbacks(stream: IOStream) -> None:
    stream.on_frame(Line(), print)


async def handlers_fit_the_framer() -> None:
    assert_type(await serve(takes_a_stream, "tcp://:0", max_frame_size=1000, backlog=5), Server)
    assert_type(await serve(takes_callbacks, "tcp://:0"), Server)
    assert_type(await serve(takes_lines, "tcp://:0", framer=Line(), workers=2), Server)
    assert_type(await serve(takes_objects, "tcp://:0", framer=Msgpack()), Server)
    assert_type(await serve(takes_objects, "tcp://:0", framer="msgpack"), Server)
    assert_type(await serve(takes_objects, "tcp://:0", framer=Line(), send_framer=Msgpack()), Server)
    await serve(takes_lines, "tcp://:0", framer=Line(None))  # type: ignore[arg-type]  # these lines are bytes


async def connecting_gives_a_stream() -> None:
    async with await connect("tcp://localhost:1", framer=Line(), timeout=5, idle_timeout=60) as stream:
        assert_type(stream, IOStream[str])
        assert_type(await stream.read(), str)
        if (tls := stream.transport.tls) is not None:
            assert_type(tls.version(), str | None)
    async with await connect_process(["cat"]) as program:
        assert_type(await program.wait_exit(), int)
    await connect("tcp://localhost:1", max_fame_size=1)  # type: ignore[call-overload]  # there is no such option


def takes_lines_blocking(stream: blocking.Stream[str]) -> None:
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


def connecting_without_a_loop_gives_a_stream(sock: socket.socket) -> None:
    with blocking.connect("tcp://localhost:1", framer=Line(), timeout=5, idle_timeout=60) as stream:
        takes_lines_blocking(stream)
    assert_type(blocking.connect("exec:cat", framer="line"), blocking.Stream[Any])
    assert_type(blocking.framed(sock, Line()), blocking.Stream[str])
    blocking.connect("tcp://localhost:1", max_fame_size=1)  # type: ignore[call-overload]  # no such option


def serving_gives_a_server() -> None:
    with blocking.serve(takes_lines_blocking, "tcp://:0", framer=Line()) as server:
        assert_type(server, blocking.Server)
    blocking.serve(takes_lines_blocking, "tcp://:0", framer=LengthPrefix(4))  # type: ignore[arg-type]  # these are bytes
    blocking.serve(takes_lines_blocking, "tcp://:0", framer=Line(), workers=2, drain_timeout=1, frame_timeout=5)
    blocking.serve(takes_lines_blocking, "tcp://:0", framer=Line(), drain_timeout="1")  # type: ignore[arg-type]  # no number
    blocking.serve(takes_lines_blocking, "tcp://:0", framer=Line(), most=5)  # type: ignore[call-arg]  # no option
