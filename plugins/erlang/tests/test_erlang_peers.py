"""Erlang as a peer, over its own sockets, and as an oracle for random streams; nginx as a FastCGI client."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from framestream import NEED_DATA, FrameDecoder, Framer, connect
from framestream_erlang import Ber, ErlangPacket, FastCgi, Giop, Record, RecordMarking, Tpkt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT = 30
PATH = os.environ.get("PATH", "") + ":/usr/sbin"

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]

# decode FILE TYPE...: the packets of each file, in hexadecimal, and why it stops.
# echo TYPE: print a port, accept one connection with {packet, TYPE}, send back what arrives.
PROGRAM = r"""
main(["decode", Type | Files]) ->
    [begin {ok, Bin} = file:read_file(File), decode(type(Type), Bin) end || File <- Files];
main(["echo", Type]) ->
    {ok, Listen} = gen_tcp:listen(0, [binary, {ip, {127,0,0,1}}, {active, false}, {packet, type(Type)}]),
    {ok, Port} = inet:port(Listen),
    io:format("~p~n", [Port]),
    {ok, Socket} = gen_tcp:accept(Listen),
    echo(Socket).

type([Digit]) -> Digit - $0;
type(Name) -> list_to_atom(Name).

decode(Type, Bin) ->
    case erlang:decode_packet(Type, Bin, []) of
        {ok, Packet, Rest} -> io:format("~s~n", [binary:encode_hex(Packet)]), decode(Type, Rest);
        {more, _} -> io:format("more ~p~n", [byte_size(Bin)]);
        {error, _} -> io:format("error ~p~n", [byte_size(Bin)])
    end.

echo(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Packet} -> ok = gen_tcp:send(Socket, Packet), echo(Socket);
        {error, closed} -> ok
    end.
"""


def needs(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program, path=PATH) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed, see plugins/install_peers.sh")


def element(rng: random.Random, contents: bytes) -> bytes:
    """Return a BER element with a random tag, and its length in a random form."""
    tag = bytes((rng.choice((0x02, 0x04, 0x30, 0x61, 0xA3)),))
    if rng.random() < 0.3:
        tag = bytes((rng.choice((0x3F, 0x7F, 0xFF)), *rng.choice(((31,), (127,), (129, 0), (255, 255, 127)))))
    size = len(contents)
    octets = rng.randint(max(1, (size.bit_length() + 7) // 8), 4)
    length = bytes((0x80 | octets,)) + size.to_bytes(octets, "big")
    return tag + (bytes((size,)) if size < 128 and rng.random() < 0.5 else length) + contents


def message(rng: random.Random, body: bytes) -> bytes:
    little = rng.randint(0, 1)
    size = len(body).to_bytes(4, "little" if little else "big")
    return b"GIOP\1" + bytes((rng.randint(0, 2), little, rng.randint(0, 7))) + size + body


def make_record(rng: random.Random, content: bytes) -> Record:
    return Record(rng.randint(1, 11), rng.randint(0, 65535), content)


def same(_: random.Random, payload: bytes) -> bytes:
    return payload


# The framer, Erlang's name for it, how to make a frame of random bytes, and how many those are at least.
Kind = tuple[Framer[Any], str, "Callable[[random.Random, bytes], Any]", int]
KINDS: list[Kind] = [
    (ErlangPacket(1), "1", same, 0),
    (ErlangPacket(2), "2", same, 0),
    (ErlangPacket(4), "4", same, 0),
    (RecordMarking(100), "sunrm", same, 0),
    (Tpkt(), "tpkt", same, 3),
    (Ber(), "asn1", element, 0),
    (FastCgi(align=8), "fcgi", make_record, 0),
    (Giop(), "cdr", message, 0),
]
IDS = [kind[1] for kind in KINDS]


def random_frames(kind: Kind, rng: random.Random, count: int, most: int) -> list[Any]:
    _, name, make, least = kind
    top = min(most, 255) if name == "1" else most
    sizes = [rng.choice((least, rng.randint(least, 130), rng.randint(least, top))) for _ in range(count)]
    return [make(rng, rng.randbytes(size)) for size in sizes]


def wire_of(framer: Framer[Any], frames: list[Any]) -> bytes:
    pieces = (framer.encode(frame) for frame in frames)
    return b"".join(each if isinstance(each, bytes) else b"".join(each) for each in pieces)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("erlang") / "packets.escript"
    path.write_text("#!/usr/bin/env escript\n%%! +S1\n" + PROGRAM)
    return path


def ours(framer: Framer[Any], wire: bytes) -> tuple[list[bytes], int]:
    """Return the frames as Erlang would give them, and how many bytes are left."""
    decoder = FrameDecoder()
    decoder.receive_data(wire)
    frames: list[bytes] = []
    start = 0
    while (frame := decoder.next_frame(framer)) is not NEED_DATA:
        # Erlang strips the length of {packet, N} and FastCGI's padding; all other headers it keeps.
        packet = wire[start : decoder.offset]
        if isinstance(framer, ErlangPacket):
            packet = packet[framer.size :]
            assert packet == frame
        if isinstance(framer, FastCgi):
            packet = packet[: len(packet) - packet[6]]
        frames.append(packet)
        start = decoder.offset
    return frames, len(wire) - start


def theirs(program: Path, name: str, path: Path) -> tuple[list[bytes], int]:
    command = ["escript", str(program), "decode", name, str(path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT, text=True)
    *packets, last = done.stdout.splitlines()
    verdict, left = last.split()
    assert verdict == "more"
    return [bytes.fromhex(packet) for packet in packets], int(left)


@needs("escript")
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_erlang_cuts_random_streams_alike(program: Path, tmp_path: Path, kind: Kind) -> None:
    framer, name, _, _ = kind
    rng = random.Random(4)
    frames = random_frames(kind, rng, 500, 3000)
    wire = wire_of(framer, frames)
    wire = wire[: -rng.randint(1, 8)]  # the last one is not complete
    (tmp_path / "stream").write_bytes(wire)
    packets, left = theirs(program, name, tmp_path / "stream")
    mine, my_left = ours(framer, wire)
    if name == "sunrm":  # Erlang gives each fragment by itself: those of a record make ours
        assert b"".join(packets).startswith(b"".join(mine))
        assert left <= my_left
    else:
        assert (mine, my_left) == (packets, left)


@contextmanager
def echo(program: Path, name: str) -> Iterator[int]:
    """Run an Erlang process that sends back each packet; yield its port."""
    process = subprocess.Popen(["escript", str(program), "echo", name], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


@needs("escript")
@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_an_erlang_process_sends_packets_back(program: Path, kind: Kind) -> None:
    framer, name, _, _ = kind
    frames = random_frames(kind, random.Random(5), 300, 20_000)
    # Erlang strips FastCGI's padding, and does not write it again.
    wire = wire_of(FastCgi(align=1) if name == "fcgi" else framer, frames)
    echoed: list[Any] = []
    with (
        echo(program, name) as port,
        socket.create_connection(("127.0.0.1", port), TIMEOUT) as peer,
        ThreadPoolExecutor(1) as pool,
    ):
        sending = pool.submit(peer.sendall, wire)
        decoder = FrameDecoder()
        while len(echoed) < len(frames):
            frame = decoder.next_frame(framer)
            if frame is NEED_DATA:
                chunk = peer.recv(7000)
                assert chunk, "Erlang closed the connection"
                decoder.receive_data(chunk)
            else:
                echoed.append(frame)
        sending.result(TIMEOUT)
    assert echoed == frames


@needs("escript")
def test_a_stream_speaks_them_by_name(program: Path) -> None:
    async def talk(port: int, framer: str, frames: list[Any]) -> list[Any]:
        async with await connect(f"tcp://127.0.0.1:{port}", framer=framer) as stream:
            for frame in frames:
                await stream.send(frame)
            return [await stream.read() for _ in frames]

    for name, spec, frames in (
        ("4", "erlang-packet", [b"", b"hello", bytes(200_000)]),
        ("sunrm", "record-marking:fragment=1000", [b"", b"hello", bytes(200_000)]),
        ("fcgi", "fastcgi:align=1", [Record(5, 1, b"hi"), Record(5, 1)]),
    ):
        with echo(program, name) as port:
            assert asyncio.run(talk(port, spec, frames)) == frames


NGINX = """
daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 16; }}
http {{
    access_log off;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    client_max_body_size 8m;
    server {{
        listen 127.0.0.1:{port};
        location / {{ fastcgi_pass 127.0.0.1:{backend}; fastcgi_param REQUEST_URI $request_uri; }}
    }}
}}
"""


def serve_fastcgi(server: socket.socket, chunk: int) -> tuple[bytes, bytes]:
    """Answer one request with its own body; return the parameters and the body."""
    connection, _ = server.accept()
    streams = {4: b"", 5: b""}
    with connection:
        connection.settimeout(TIMEOUT)
        decoder = FrameDecoder()
        while True:
            record = decoder.next_frame(FastCgi())
            if record is NEED_DATA:
                decoder.receive_data(connection.recv(chunk))
                continue
            assert isinstance(record, Record)
            if record.type == 5 and not record.content:
                break
            if record.type in streams:
                streams[record.type] += record.content
        answer = b"Content-Type: text/plain\r\n\r\n" + streams[5]
        records = [Record(6, 1, answer[at : at + 60_001]) for at in range(0, len(answer), 60_001)]
        connection.sendall(wire_of(FastCgi(), [*records, Record(6, 1), Record(3, 1, bytes(8))]))
    return streams[4], streams[5]


@needs("nginx")
@pytest.mark.parametrize(("size", "chunk"), [(0, 1), (1, 65536), (100_000, 999), (5_000_000, 65536)])
def test_nginx_is_served_by_fastcgi(tmp_path: Path, size: int, chunk: int) -> None:
    sent = random.Random(6).randbytes(size)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as probe:
        server.settimeout(TIMEOUT)
        port = probe.getsockname()[1]
        probe.close()
        config = tmp_path / "nginx.conf"
        config.write_text(NGINX.format(home=tmp_path, port=port, backend=server.getsockname()[1]))
        arguments = ["-p", str(tmp_path), "-c", str(config), "-e", str(tmp_path / "error.log")]
        nginx = subprocess.Popen([str(shutil.which("nginx", path=PATH)), *arguments])
        try:
            for _ in range(500):
                with socket.socket() as attempt:
                    if attempt.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert nginx.poll() is None, (tmp_path / "error.log").read_text()
                time.sleep(0.02)
            with ThreadPoolExecutor(1) as pool:
                request = pool.submit(serve_fastcgi, server, chunk)
                url = f"http://127.0.0.1:{port}/a?b=c"
                with urllib.request.urlopen(url, data=sent, timeout=TIMEOUT) as answer:
                    assert answer.read() == sent
                parameters, body = request.result(TIMEOUT)
        finally:
            nginx.terminate()
            nginx.wait(TIMEOUT)
    assert b"\x0b\x06REQUEST_URI/a?b=c" in parameters
    assert body == sent
