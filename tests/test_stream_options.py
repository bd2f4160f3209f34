"""The options of a stream: what has no meaning is refused where it is given."""

import os
import socket

import pytest
from stream_pairs import joined

from framestream import IOStream, Line, client_tls, connect, connect_process, serve
from framestream.stream.options import DEFAULTS, check_options

pytestmark = pytest.mark.asyncio_only
LINE = Line()

WRONG = {
    "no policy": ("on_oversize", "bogus", "on_oversize is 'bogus'; it must be one of close, "),
    "a negative size": (
        "max_frame_size",
        -1,
        "max_frame_size is -1; it must be a whole number of bytes, 0 or more",
    ),
    "a size in words": (
        "max_frame_size",
        "1MiB",
        "max_frame_size is '1MiB'; it must be a whole number of bytes, 0 or more",
    ),
    "half a byte": ("read_chunk_size", 0.5, "must be a whole number of bytes, 1 or more"),
    "a truth for a size": ("read_chunk_size", True, "must be a whole number of bytes, 1 or more"),
    "nothing at a time": ("read_chunk_size", 0, "must be a whole number of bytes, 1 or more"),
    "no room at all": ("max_buffer_size", 0, "must be a whole number of bytes, 1 or more"),
    "no default limit": ("max_frame_size", None, "must be a whole number of bytes, 0 or more"),
    "a negative low mark": ("write_low_water", -1, "write_low_water is -1"),
    "a negative cap": ("max_write_buffer_size", -1, "0 or more, or None for no limit"),
    "a negative time": (
        "idle_timeout",
        -1,
        "idle_timeout is -1; it must be a number of seconds, 0 or more, or None for no limit",
    ),
    "a time in words": ("frame_timeout", "3", "frame_timeout is '3'; it must be a number of"),
    "an endless time": ("write_timeout", float("inf"), "write_timeout is inf"),
    "no number": ("frame_timeout", float("nan"), "frame_timeout is nan"),
    "a negative rate": ("min_rate", -5, "a number of bytes per second, 0 or more"),
    "no grace": ("rate_grace", None, "rate_grace is None; it must be a number of seconds, 0 or more"),
    "no function": ("on_discard", "print", "on_discard is 'print'; it must be a function or None"),
    "no truth": ("half_open", "no", "half_open is 'no'; it must be True or False"),
}


@pytest.mark.parametrize(("name", "value", "message"), WRONG.values(), ids=WRONG)
async def test_a_value_without_meaning_is_refused_before_anybody_is_reached(name, value, message):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match=message):
        await connect("tcp://127.0.0.1:1", **{name: value})
    with pytest.raises(ValueError, match=message):
        await connect_process(["no-such-program"], **{name: value})
    with pytest.raises(ValueError, match=message):
        await serve(print, "tcp://127.0.0.1:0", **{name: value})
    assert before == len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match=message):
        IOStream(ours, **{name: value})


def test_the_low_mark_lies_below_the_high_one():
    with pytest.raises(ValueError, match="write_low_water is 100, above write_high_water 1"):
        check_options({"write_high_water": 1, "write_low_water": 100})
    with pytest.raises(ValueError, match="write_low_water is 100000, above write_high_water 65536"):
        check_options({"write_low_water": 100_000})
    check_options({"write_high_water": 1})  # the low one goes down with it
    check_options({"write_high_water": 1, "write_low_water": 1})


def test_every_default_is_a_value_it_may_have():
    check_options(DEFAULTS)
    check_options({"frame_timeout": 0, "idle_timeout": 0.5, "max_write_buffer_size": 0, "max_frame_size": 0})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_connections", 0, "max_connections is 0; it must be a whole number, 1 or more, or None"),
        ("max_connections", -1, "max_connections is -1"),
        ("max_connections", "9", "max_connections is '9'"),
        ("workers", -1, "workers is -1; it must be a whole number, from 0 to 1024"),
        ("workers", 99_999, "workers is 99999; it must be a whole number, from 0 to 1024"),
        ("workers", 1.5, "workers is 1.5"),
        ("backlog", -3, "backlog is -3; it must be a whole number, 0 or more"),
        ("handshake_timeout", -1, "handshake_timeout is -1; it must be a number of seconds, 0 or more"),
        ("drain_timeout", "1", "drain_timeout is '1'; it must be a number of seconds, 0 or more"),
    ],
)
async def test_a_server_refuses_options_without_meaning(option, value, message):
    with pytest.raises(ValueError, match=message):
        await serve(print, "tcp://127.0.0.1:0", **{option: value})


async def test_a_server_is_told_its_certificate_not_just_that_it_has_one():
    with pytest.raises(TypeError, match=r"tls is True; pass server_tls\(\.\.\.\), or a function that makes"):
        await serve(print, "tls://127.0.0.1:0", tls=True)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"unknown_option": 1}, TypeError, "unknown stream option: unknown_option"),
        ({"framer": "nope"}, ValueError, "no framer named 'nope'"),
        ({"framer": 5}, TypeError, "framer is 5; it must be a condition, a name or a spec string"),
        ({"send_framer": "available"}, TypeError, "available can only read"),
        ({"tls": "yes"}, TypeError, "tls is 'yes'; it must be a context, True, False or None"),
        ({"timeout": -1}, ValueError, "timeout is -1; it must be a number of seconds"),
        ({"happy_eyeballs_delay": None}, ValueError, "happy_eyeballs_delay is None"),
        (
            {"local_address": "127.0.0.1"},
            TypeError,
            r"local_address is '127.0.0.1'; it must be \(HOST, PORT\)",
        ),
        ({"local_address": ("::1", "0")}, TypeError, "local_address is"),
        ({"local_address": ("x..y", 0)}, ValueError, "'x..y' in .* is no host name"),
    ],
)
async def test_a_mistake_in_the_arguments_is_told_before_anybody_is_reached(options, kind, message):
    with pytest.raises(kind, match=message):
        await connect("tcp://127.0.0.1:1", **options)


NO_TIMES = [float("nan"), float("inf"), -1, "3", True]
TIMED = {
    "a read's timeout": ("timeout", lambda stream, value: stream.read(LINE, timeout=value)),
    "a read's rate": ("min_rate", lambda stream, value: stream.read(LINE, min_rate=value)),
    "a read of bytes": ("timeout", lambda stream, value: stream.read_bytes(5, timeout=value)),
    "a read by callback": ("timeout", lambda stream, value: stream.read(LINE, timeout=value, callback=print)),
    "a framed read": ("timeout", lambda stream, value: stream.framed(LINE).receive(timeout=value)),
    "closing": ("timeout", lambda stream, value: stream.aclose(value)),
    "a handshake": (
        "timeout",
        lambda stream, value: stream.start_tls(client_tls(), server_hostname="localhost", timeout=value),
    ),
}


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize(("name", "begin"), TIMED.values(), ids=TIMED)
async def test_a_time_without_meaning_is_refused_at_once_and_nothing_is_done(name, begin, value):
    async with joined("unix") as (stream, peer):
        await peer.send("whole", LINE)
        with pytest.raises(ValueError, match=rf"{name} is {value!r}; it must be a number of"):
            await begin(stream, value)
        assert "whole" == await stream.read(LINE, timeout=0, deadline=-1, min_rate=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "3"])
async def test_a_deadline_without_meaning_is_refused_at_once(value):
    async with joined("unix") as (stream, _):
        with pytest.raises(ValueError, match=f"deadline is {value!r}; it must be a time on the loop's clock"):
            stream.read(LINE, deadline=value)


@pytest.mark.parametrize("value", NO_TIMES)
async def test_a_server_goes_on_when_the_time_to_drain_has_no_meaning(value):
    async with await serve(print, "tcp://127.0.0.1:0") as server:
        with pytest.raises(ValueError, match=f"drain_timeout is {value!r}; it must be a number of seconds"):
            await server.aclose(drain_timeout=value)
        assert not server.closed
