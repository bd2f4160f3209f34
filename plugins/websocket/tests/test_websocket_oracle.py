"""wsproto as an oracle: both read the same events, and refuse with the same code, in random streams."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from framestream import NEED_DATA, FrameDecoder, FramingError
from framestream_websocket import Close, Frame, Messages, Opcode, Ping, Pong, WebSocket, close_code

try:
    import wsproto.events as theirs_are
    from wsproto.connection import Connection, ConnectionState, ConnectionType
except ImportError:
    pytest.skip("wsproto is not installed, see plugins/install_peers.sh", allow_module_level=True)

pytestmark = [
    pytest.mark.real_peer,
    pytest.mark.skipif(
        os.environ.get("FRAMESTREAM_REAL_PEERS") != "1", reason="real programs run only with FRAMESTREAM_REAL_PEERS=1"
    ),
]


def fragments(opcode: Opcode, *payloads: bytes) -> list[Frame]:
    last = len(payloads) - 1
    return [
        Frame(Opcode.CONTINUATION if index else opcode, payload, fin=index == last)
        for index, payload in enumerate(payloads)
    ]


def random_stream(rng: random.Random) -> bytes:
    """Return frames of a client, most of them right."""
    wire = []
    for _ in range(rng.randint(1, 8)):
        text = "".join(rng.choices("a\u00e9\u20ac\U0001f600", k=rng.choice((0, 1, 20, 60)))).encode()
        kind = rng.choice((Opcode.TEXT, Opcode.BINARY))
        cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.choice((0, 0, 1, 3))))
        frames = fragments(kind, *(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)))
        for frame in frames:
            if rng.random() < 0.2:
                wire.append(Frame(rng.choice((Opcode.PING, Opcode.PONG)), rng.randbytes(rng.randint(0, 125))))
            wire.append(frame)
    if rng.random() < 0.5:
        wire.append(Close(rng.choice((1000, 1001, 1011, 3000, 4999)), "bye").frame())
    data = bytearray(b"".join(piece for frame in wire for piece in WebSocket().encode(frame)))
    if rng.random() < 0.5:
        data[rng.randrange(len(data))] ^= 1 << rng.randint(0, 7)
    return bytes(data)


def ours(wire: bytes) -> tuple[list[Any], bytes]:
    """Return what we make of the stream, and the frame that is not complete."""
    decoder, messages = FrameDecoder(max_frame_size=1 << 62), Messages()
    decoder.receive_data(wire)
    said: list[Any] = []
    try:
        while (frame := decoder.next_frame(WebSocket())) is not NEED_DATA:
            event = messages.add(frame)  # type: ignore[arg-type]  # END is not said before the end
            said += [] if event is None else [event]
            if isinstance(event, Close):
                break
    except FramingError as error:
        return [*said, close_code(error)], b""
    return said, decoder.leftover if not said or not isinstance(said[-1], Close) else b""


def theirs(wire: bytes) -> list[Any]:
    oracle = Connection(ConnectionType.SERVER)
    oracle.receive_data(wire)
    said: list[Any] = []
    message: list[Any] = []
    for event in oracle.events():
        if isinstance(event, (theirs_are.TextMessage, theirs_are.BytesMessage)):
            message.append(event.data)
            if event.message_finished:
                said.append(("" if isinstance(event, theirs_are.TextMessage) else b"").join(message))
                message = []
        elif isinstance(event, theirs_are.CloseConnection):
            # A refusal is told as a Close that the peer has not sent.
            refused = oracle.state is ConnectionState.OPEN
            said.append(int(event.code) if refused else Close(event.code, event.reason or ""))
            break
        elif isinstance(event, theirs_are.Ping):
            said.append(Ping(bytes(event.payload)))
        elif isinstance(event, theirs_are.Pong):
            said.append(Pong(bytes(event.payload)))
    return said


def test_wsproto_understands_random_streams_alike() -> None:
    rng = random.Random(7)
    for _ in range(1500):
        wire = random_stream(rng)
        (mine, begun), other = ours(wire), theirs(wire)
        # wsproto passes on what has arrived of a frame, so it may find fault with one that is not complete.
        assert mine == (other[: len(mine)] if begun else other), wire
