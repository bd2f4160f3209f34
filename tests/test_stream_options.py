"""The options of a stream: what has no meaning is refused where it is given."""

import os
import socket

import pytest
from stream_pairs import joined, raised, refused

from framestream import Exactly, IOStream, Line, client_tls, connect, connect_process, serve
from framestream.stream.options import DEFAULTS, check_options
from framestream.testing import check_framer

pytestmark = pytest.mark.asyncio_only
LINE = Line()

# fmt: off
WRONG = [
    ("on_oversize", "bogus", "it must be one of raise, "),
    ("max_frame_size", -1, "it must be a whole number of bytes, 0 or more"),
    ("max_frame_size", "1MiB", "it must be a whole number of bytes, 0 or more"),
    ("read_chunk_size", True, "it must be a whole number of bytes, 1 or more"),
    ("read_chunk_size", 0, "it must be a whole number of bytes, 1 or more"),
    ("write_low_water", -1, "it must be a whole number of bytes, 0 or more"),
    ("max_write_buffer_size", -1, "it must be a whole number of bytes, 0 or more, or None for no limit"),
    ("idle_timeout", -1, "it must be a number of seconds, 0 or more, or None for no limit"),
    ("frame_timeout", "3", "it must be a number of seconds"),
    ("write_timeout", float("inf"), "it must be a number of seconds"),
    ("min_rate", -5, "it must be a number of bytes per second, 0 or more"),
    ("rate_grace", None, "it must be a number of seconds, 0 or more"),
    ("half_open", "no", "it must be True or False"),
]
SERVER_WRONG = [
    ("max_connections", 0, "it must be a whole number, 1 or more, or None"),
    ("max_connections", "9", "it must be a whole number, 1 or more, or None"),
    ("workers", -1, "it must be a whole number, from 0 to 1024"),
    ("workers", 1.5, "it must be a whole number, from 0 to 1024"),
    ("workers", 1025, "it must be a whole number, from 0 to 1024"),
    ("backlog", -3, "it must be a whole number, 0 or more"),
    ("handshake_timeout", -1, "it must be a number of seconds, 0 or more"),
    ("drain_timeout", "1", "it must be a number of seconds, 0 or more"),
]
MISTAKES = [
    ({"unknown_option": 1}, TypeError, "unknown stream option: unknown_option"),
    ({"on_discard": "print"}, TypeError, "on_discard is 'print'; it must be a function"),
    ({"on_payload_error": 5}, TypeError, "on_payload_error is 5; it must be a function"),
    ({"framer": "nope"}, ValueError, "no framer named 'nope'"),
    ({"framer": 5}, TypeError, "framer is 5; it must be a condition, a name or a spec string"),
    ({"send_framer": "available"}, TypeError, "available can only read"),
    ({"tls": "yes"}, TypeError, "tls is 'yes'; it must be a context, or True for the pl"),
    ({"tls": False}, TypeError, "tls is False; it must be a context, or True for the platform's defaults"),
    ({"server_hostname": "x..y"}, ValueError, "label empty"),
    ({"timeout": -1}, ValueError, "timeout is -1; it must be a number of seconds"),
]
# fmt: on


async def test_a_value_without_meaning_is_refused_before_anybody_is_reached():
    for name, value, rule in WRONG:
        refusal = pytest.raises(ValueError, match=f"^{name} is {value!r}; {rule}")
        before = len(os.listdir("/proc/self/fd"))
        with refusal:
            await connect("tcp://127.0.0.1:1", **{name: value})
        with refusal:
            await connect_process(["no-such-program"], **{name: value})
        with refusal:
            await serve(print, "tcp://127.0.0.1:0", **{name: value})
        assert before == len(os.listdir("/proc/self/fd"))
        ours, theirs = socket.socketpair()
        with ours, theirs, refusal:
            IOStream(ours, **{name: value})
    for options, kind, message in MISTAKES:
        await raised(kind, connect, "tcp://127.0.0.1:1", **options, match=message)
    for name, value, rule in SERVER_WRONG:
        with pytest.raises(ValueError, match=f"^{name} is {value!r}; {rule}"):
            await serve(print, "tcp://127.0.0.1:0", **{name: value})
    with pytest.raises(TypeError, match=r"tls is True; pass server_tls\(\.\.\.\), or a function that makes"):
        await serve(print, "tls://127.0.0.1:0", tls=True)


def test_the_low_mark_lies_below_the_high_one_and_every_default_has_a_meaning():
    with pytest.raises(ValueError, match="write_low_water is 100, above write_high_water 1"):
        check_options({"write_high_water": 1, "write_low_water": 100})
    with pytest.raises(ValueError, match="write_low_water is 100000, above write_high_water 65536"):
        check_options({"write_low_water": 100_000})
    check_options({"write_high_water": 1})  # the low one goes down with it
    check_options({"write_high_water": 1, "write_low_water": 1})
    check_options({"frame_timeout": 0, "idle_timeout": 0.5, "max_write_buffer_size": 0, "max_frame_size": 0})
    check_options(DEFAULTS)


MEANT = [
    (1024, r"1024 is not a read condition; Exactly\(1024\) reads so many bytes"),
    (b"\n", r"b'\\n' is not a read condition; Delimiter\(b'\\n'\) reads up to that"),
    (Line, r"the class Line is not a read condition; make one of it: Line\(...\)"),
]
TAKE_A_CONDITION = [
    lambda stream, wrong: stream.read(wrong),
    lambda stream, wrong: stream.read(wrong, timeout=1),
    lambda stream, wrong: stream.read(wrong, callback=print),
    lambda stream, wrong: stream.read(wrong, streaming_callback=print),
    lambda stream, wrong: stream.frames(wrong),
    lambda stream, wrong: stream.batches(wrong),
    lambda stream, wrong: stream.open_frame(wrong),
    lambda stream, wrong: stream.on_frame(wrong, print),
    lambda stream, wrong: stream.send("frame", wrong),
    lambda stream, wrong: check_framer(wrong),
]


@pytest.mark.parametrize(("wrong", "message"), MEANT)
async def test_what_is_no_condition_is_told_with_what_was_meant_and_nothing_is_done(wrong, message):
    async with joined("memory") as (stream, peer):
        await peer.send("whole", LINE)
        for begin in TAKE_A_CONDITION:
            await raised(TypeError, begin, stream, wrong, match=message)
        for begin in (
            lambda callback: stream.on_frame(LINE, callback),
            lambda callback: stream.read(LINE, callback=callback),
            lambda callback: stream.write(b"unwritten", callback),
            stream.set_close_callback,
        ):
            refused(TypeError, begin, 5, match="callback is 5; it must be a function")
        for framers in ((wrong,), (LINE, wrong)):
            refused(TypeError, stream.framed, *framers, match="it must be a condition, a name or a spec string")
        for size in (-1, "3", 1.5):
            await raised(ValueError, stream.peek, size, match=f"size is {size!r}; it must be a whole number")
        for begin in (
            lambda leftover: stream.framed(Exactly(1), leftover=leftover),
            lambda leftover: stream.start_tls(client_tls(), server_hostname="x", leftover=leftover),
        ):
            await raised(ValueError, begin, "refused", match="leftover is 'refused'; it must be one of keep, refuse")
        assert "whole" == await stream.read(LINE)
        assert 0 == stream.stats.bytes_sent


NO_OPTIONS = [
    ({"foo": 1}, "unknown option of a read: foo$"),
    ({"foo": 1, "bar": 2}, "unknown option of a read: bar, foo$"),
    ({"time_out": 1}, r"unknown option of a read: time_out; did you mean timeout\?"),
    ({"max_bytes": 1}, r"unknown option of a read: max_bytes; did you mean max_size\?"),
    ({"max_frame_size": 1}, r"unknown option of a read: max_frame_size; did you mean max_size\?"),
]


@pytest.mark.parametrize(("options", "message"), NO_OPTIONS)
async def test_an_option_that_no_read_has_is_told_with_what_was_meant_and_nothing_is_done(options, message):
    async with joined("memory") as (stream, peer):
        await peer.send("whole", LINE)
        for read in (
            lambda: stream.read(LINE, **options),
            lambda: stream.read(LINE, callback=print, timeout=1, **options),
            lambda: stream.read(LINE, streaming_callback=print, **options),
            lambda: stream.read_bytes(1, **options),
            lambda: stream.read_until_close(**options),
        ):
            refused(TypeError, read, match=message)
        assert "whole" == await stream.read(LINE)


NO_TIMES = [float("nan"), float("inf"), 10**400, -1, "3", True]
# fmt: off
TIMED = [
    ("timeout", lambda stream, value: stream.read(LINE, timeout=value)),
    ("min_rate", lambda stream, value: stream.read(LINE, min_rate=value)),
    ("timeout", lambda stream, value: stream.read(LINE, timeout=value, callback=print)),
    ("timeout", lambda stream, value: stream.aclose(value)),
    ("timeout", lambda stream, value: stream.start_tls(client_tls(), server_hostname="x", timeout=value)),
]
# fmt: on


async def test_a_time_without_meaning_is_refused_at_once_and_nothing_is_done():
    async with joined("memory") as (stream, peer), await serve(print, "tcp://127.0.0.1:0") as server:
        for value in NO_TIMES:
            for name, begin in TIMED:
                await peer.send("whole", LINE)
                await raised(ValueError, begin, stream, value, match=rf"{name} is {value!r}; it must be a number of")
                assert "whole" == await stream.read(LINE, timeout=0, min_rate=0)
            with pytest.raises(ValueError, match=f"drain_timeout is {value!r}; it must be a number of"):
                await server.aclose(drain_timeout=value)
            assert not server.closed
        for value in (-1, "3", True):
            with pytest.raises(ValueError, match=f"max_size is {value!r}; it must be a whole number"):
                stream.read(LINE, max_size=value)
