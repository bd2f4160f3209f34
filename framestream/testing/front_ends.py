"""The promises of every front end, blocking or asynchronous, as claims to try on yours.

A *front end* joins a decoder to a connection, as `IOStream` does on asyncio. Give each claim a function that
makes a `FrontEnd`, an adapter whose calls wait, over one end of a socket pair. The claim has the other end::

    @pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
    def test_my_front_end_keeps_what_all_promise(claim):
        claim(open_mine)

A claim returns if it holds; if not, it raises ``AssertionError`` or the front end's exception.
"""

from __future__ import annotations

import reprlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count, zip_longest
from typing import Any, Final, Protocol, TypeAlias

from framestream.errors import (
    EncodeError,
    FrameTooLarge,
    FramingError,
    IncompleteFrame,
    PayloadError,
    StreamBusy,
    StreamClosed,
)
from framestream.framers.amounts import Exactly, UntilClose
from framestream.framers.delimiter import Line
from framestream.framers.length_prefix import LengthPrefix
from framestream.iterate import iter_frames
from framestream.testing.suite import in_chunks

PATIENCE = 20.0
"""Seconds after which a call that should not wait counts as stuck."""

# Seconds that a claim waits for bytes that should not come.
_MOMENT: Final = 0.01
# More than any system buffers for a connection: 64 MB.
_FLOOD: Final = [b"x\n" * 50_000] * 640

_BAD: Final = b"good\n\xff\xfe\nbetter\n"
_LARGE: Final = b"\0\6sixsix\0\5fives\0\7seven..\0\1!"
# Repeated, no two places a power of two apart look the same: what is put together in another order shows.
_LONG: Final = bytes(range(251))
# What arrives, the options, and what each receive returns or raises.
_RECEIVED: Final[tuple[tuple[Any, bytes, dict[str, Any], list[Any]], ...]] = (
    (LengthPrefix(4), b"\0\x20\0\0", {}, [(FrameTooLarge, 0)]),
    (LengthPrefix(2), _LARGE, {"max_frame_size": 5}, [(FrameTooLarge, 0), b"fives", (FrameTooLarge, 15), b"!"]),
    (LengthPrefix(2), _LARGE, {"max_frame_size": 5, "on_oversize": "discard"}, [b"fives", b"!"]),
    (Line(), _BAD, {}, ["good", (PayloadError, 5), "better"]),
    (LengthPrefix(1, adjust=-1), b"\4abc\0\3ab", {}, [b"abc", (FramingError, 4), (FramingError, 4)]),
)


class FrontEnd(Protocol):
    """One connection by the front end under test; each call waits until it is done."""

    def receive(self, condition: Any = None, *, timeout: float | None = None) -> Any:
        """Return the next frame; give up after `timeout` seconds with a TimeoutError, say by cancelling."""

    def frames(self) -> list[Any]:
        """Iterate to the end of the stream; return the frames."""

    def send(self, frame: Any) -> None:
        """Send one frame."""

    def send_eof(self) -> None:
        """End this half of the stream."""

    def close(self) -> None:
        """Close the stream."""

    @property
    def leftover(self) -> bytes:
        """The bytes that have arrived and are not received."""


class Opener(Protocol):
    """Makes a front end over a connected socket, which it owns from then on."""

    def __call__(self, sock: socket.socket, framer: Any = None, send_framer: Any = None, **options: Any) -> FrontEnd:
        """Open one.

        Args:
            sock: blocking, as the system makes it.
            framer: what it receives and sends.
            send_framer: what it sends, if different.
            options: ``max_frame_size``, ``on_oversize`` and ``on_payload_error``, as for `FrameDecoder`.
        """


Claim: TypeAlias = Callable[[Opener], None]
CLAIMS: Final[list[Claim]] = []
"""Every claim, in the best order to make them true."""


def _claim(function: Claim) -> Claim:
    CLAIMS.append(function)
    return function


@contextmanager
def _joined(
    open_: Opener,
    framer: Any = None,
    wire: bytes = b"",
    *,
    ends: bool = False,
    send_framer: Any = None,
    tcp: bool = False,
    **options: Any,
) -> Iterator[tuple[Any, socket.socket]]:
    """Open a front end, and give it its peer, which has sent these bytes and perhaps the end."""
    ours, peer = _tcp_pair() if tcp else socket.socketpair()
    with peer:
        peer.settimeout(PATIENCE)
        peer.sendall(wire)
        if ends:
            peer.shutdown(socket.SHUT_WR)
        front: Any = open_(ours, framer, send_framer, **options)
        front.receive = partial(front.receive, timeout=PATIENCE)  # it must not wait for ever
        try:
            yield front, peer
        finally:
            front.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    return first, second


def _received(front: FrontEnd) -> Any:
    """Return the next frame, or the class of the error that is raised instead, and its offset."""
    try:
        return front.receive()
    except (FramingError, PayloadError) as error:
        return type(error), error.offset


def _raised(kind: Any, call: Callable[..., object], *arguments: Any, **options: Any) -> Any:
    try:
        answer = call(*arguments, **options)
    except kind as error:
        return error
    raise AssertionError(f"no {kind}, but {answer!r}")


def _send_all(front: FrontEnd, frames: list[Any]) -> None:
    for frame in frames:
        front.send(frame)


def _same_frames(expected: list[Any], received: list[Any]) -> None:
    """Compare long frames. pytest would explain the difference that an ``assert`` finds, for minutes."""
    for number, (sent, came) in enumerate(zip_longest(expected, received)):
        if sent != came:
            raise AssertionError(f"frame {number} should be {reprlib.repr(sent)}, and is {reprlib.repr(came)}")


@_claim
def chunks_and_giving_up_change_no_frame(open_: Opener) -> None:
    """The same frames arrive for every chunking, small or large, however often a receive gives up."""
    small = [b"hello", b"", b"!", bytes(32)]
    for frames, size in [*((small, size) for size in (1, 2, 3, 7, 100)), ([_LONG * 2000], 200_000)]:
        wire = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        with _joined(open_, LengthPrefix(4)) as (front, peer), ThreadPoolExecutor(1) as pool:
            received = []
            for chunk in in_chunks(wire, size):
                pool.submit(peer.sendall, chunk)
                with suppress(TimeoutError):
                    received.append(front.receive(timeout=_MOMENT / 10))
            pool.submit(peer.shutdown, socket.SHUT_WR)
            _same_frames(frames, received + front.frames())
            assert front.leftover == b""


@_claim
def the_condition_may_change_between_any_two_frames(open_: Opener) -> None:
    """Exactly the frame is consumed; the bytes after it are for the next condition."""
    with _joined(open_, Line(), b"one\ntwo\nthree\nUPGRADE\n\0\2hi12345rest") as (front, peer):
        assert ["one", "two", "three", "UPGRADE"] == [front.receive() for _ in range(4)]
        assert b"hi" == front.receive("length-prefix:size=2")
        assert b"12345" == front.receive(Exactly(5))
        assert b"rest" == front.leftover
        peer.close()
        assert b"rest" == front.receive(UntilClose())


@_claim
def each_direction_has_its_framer(open_: Opener) -> None:
    """Sent frames follow the framer for sending, if there is one."""
    with _joined(open_, Line()) as (front, peer):
        front.send("one")
        assert b"one\n" == peer.recv(100)
    for framer, send_framer in ((Line(), LengthPrefix(2)), ("line", "length-prefix:size=2")):
        with _joined(open_, framer, b"three\n", send_framer=send_framer) as (front, peer):
            front.send(b"two")
            assert b"\0\3two" == peer.recv(100)
            assert "three" == front.receive()
    with _joined(open_, None, b"six\n") as (front, _):
        _raised(TypeError, front.receive)
        _raised(TypeError, front.send, "five")
        _raised(TypeError, front.receive, 5)
        assert "six" == front.receive(Line())


@_claim
def an_error_costs_no_other_frame(open_: Opener) -> None:
    """What is too large or cannot be decoded is told in its place, and the next frame received; not so after bytes
    that are no frame. There is a limit by default, and it holds before the body arrives.
    """
    for framer, wire, options, expected in _RECEIVED:
        with _joined(open_, framer, wire, **options) as (front, _):
            assert expected == [_received(front) for _ in expected]
    told: list[PayloadError] = []
    with _joined(open_, Line(), _BAD, ends=True, on_payload_error=told.append) as (front, _):
        assert ["good", "better"] == front.frames()
        assert [b"\xff\xfe"] == [error.payload for error in told]


@_claim
def the_end_tells_how_it_came(open_: Opener) -> None:
    """Between two frames it ends an iteration; inside a frame it is an error, and buffered bytes stay."""
    with _joined(open_, Line(), b"one\ntwo\n", ends=True) as (front, _):
        assert ["one", "two"] == front.frames()
        for _ in range(2):
            assert _raised(StreamClosed, front.receive).real_error is None
        assert [] == front.frames()
    for ask in ("receive", "frames"):
        with _joined(open_, LengthPrefix(2), b"\0\1a\0\5hel", ends=True) as (front, _):
            assert b"a" == front.receive()
            error = _raised(IncompleteFrame, getattr(front, ask))
            assert (5, 7, 3) == (error.received, error.expected, error.offset)
            assert b"\0\5hel" == front.leftover


@_claim
def a_reset_is_no_end(open_: Opener) -> None:
    """The error of a receive names what closed the connection, and a send is refused, too."""
    for sent in (b"", b"\0\5hel"):
        with _joined(open_, LengthPrefix(2), sent, tcp=True) as (front, peer):
            if sent:
                _raised(TimeoutError, front.receive, timeout=_MOMENT)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            assert isinstance(_raised(StreamClosed, front.receive).real_error, ConnectionError)
            _raised(StreamClosed, front.frames)
            _raised(StreamClosed, _send_all, front, [b"x"] * 3)


@_claim
def half_a_stream_can_be_ended(open_: Opener) -> None:
    """The peer sees the end after everything that was sent, and its answer is received; and the other way round."""
    with _joined(open_, Line()) as (front, peer):
        front.send("question")
        front.send_eof()
        with peer.makefile("rb") as file:
            assert b"question\n" == file.read()
        peer.sendall(b"answer\n")
        assert "answer" == front.receive()
        _raised(StreamClosed, front.send, "more")
    with _joined(open_, Line(), b"question\n", ends=True) as (front, peer):
        assert ["question"] == front.frames()
        front.send("answer")
        assert b"answer\n" == peer.recv(100)


@_claim
def a_closed_stream_takes_nothing(open_: Opener) -> None:
    """Sending is refused, receiving returns buffered frames and then says so; closing again does nothing."""
    with _joined(open_, Line(), b"one\ntwo\nhalf") as (front, peer):
        assert "one" == front.receive()
        front.close()  # and once more by what has opened it
        assert b"" == peer.recv(100)
        _raised(StreamClosed, front.send, "x")
        _raised(StreamClosed, front.send_eof)
        assert "two" == front.receive()
        assert b"half" == front.leftover
        _raised(StreamClosed, front.receive)


@_claim
def one_receives_at_a_time(open_: Opener) -> None:
    """A second receive is refused at once, and takes nothing from the first, which hears of it if the stream closes."""

    def receive() -> Any:
        while True:
            with suppress(StreamBusy):  # the other one was first
                return front.receive()

    def is_busy() -> bool:
        time.sleep(_MOMENT)  # or this thread would have its turn again and again, and the other none
        answer = _raised((TimeoutError, StreamBusy), front.receive, timeout=_MOMENT)
        return isinstance(answer, StreamBusy)

    with _joined(open_, Line()) as (front, peer), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receive)
        assert any(is_busy() for _ in count())
        peer.sendall(b"one\ntwo\nhalf")
        assert "one" == waiting.result(PATIENCE)
        assert "two" == front.receive()
        waiting = pool.submit(_raised, StreamClosed, receive)
        assert any(is_busy() for _ in count())
        front.close()
        assert waiting.result(PATIENCE).real_error is None


@_claim
def what_has_no_encoding_is_not_sent(open_: Opener) -> None:
    """Nothing of it leaves, and the next frame is whole."""
    with _joined(open_, LengthPrefix(1)) as (front, peer):
        _raised(EncodeError, front.send, b"x" * 300)
        front.send(b"ok")
        assert b"\2ok" == peer.recv(100)


@_claim
def frames_sent_at_once_leave_whole(open_: Opener) -> None:
    """Threads or tasks that send at the same time do not mix their frames, the largest of which no buffer holds."""
    payloads = [[_LONG[number:] * times for times in (1, 80, 4000)] for number in range(4)]
    with _joined(open_, LengthPrefix(4)) as (front, peer), ThreadPoolExecutor(4) as pool:
        sending = [pool.submit(_send_all, front, each) for each in payloads]
        with peer.makefile("rb") as file:
            wire = file.read(sum(4 + len(payload) for payload in chain(*payloads)))
        for done in sending:
            done.result(PATIENCE)
    _same_frames(sorted(chain(*payloads)), sorted(iter_frames(wire, LengthPrefix(4))))


@_claim
def a_stream_takes_little_that_is_not_received(open_: Opener) -> None:
    """Bytes that are not received stay with the peer, which has to wait."""
    with _joined(open_, Line(), b"one\n") as (front, peer):
        assert "one" == front.receive()
        peer.settimeout(10 * _MOMENT)
        _raised(TimeoutError, lambda: list(map(peer.send, _FLOOD)))
        assert "x" == front.receive()
