"""Overlapping requests over one stream, and handlers of frames that run at once."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest
from stream_pairs import begun, joined, once, passes, raised, refused, until

from framestream import (
    FramingError,
    IncompleteFrame,
    Line,
    Msgpack,
    PayloadError,
    StreamBusy,
    StreamClosed,
    StreamTimeout,
)
from framestream.requests import Requests, handle_frames
from framestream.testing import memory_stream_pair

pytestmark = pytest.mark.every_loop


def id_of(message):
    number, _ = message
    return number


async def ask(requests, what="get", **options):
    """Return what is answered to a request."""
    answer = await requests.ask(lambda number: [number, what], **options)
    return answer[1]


async def answer_next(server, result):
    """Answer the next request, and return it."""
    asked = await server.read()
    await server.send([asked[0], result])
    return asked


@asynccontextmanager
async def requesting(**options):
    """Give requests over a stream in memory, that stream, and the other end of it."""
    client, server = memory_stream_pair(framer=Msgpack())
    async with Requests(client, id_of, **options) as requests:
        yield requests, client, server


@pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])
async def test_each_answer_reaches_who_asked_in_whatever_order_and_while_the_peer_takes_no_more(kind):
    async def answer(request):
        number, [n, _] = request
        for _ in range(20 - n % 20):  # it takes its time, and another for each
            await asyncio.sleep(0)
        await server.send([number, 2 * n])

    async with joined(kind, framer=Msgpack(), half_open=True, write_high_water=1000) as (client, server):
        serving = asyncio.ensure_future(handle_frames(server, answer))
        async with Requests(client, id_of, most=1000) as requests:
            answers = await asyncio.gather(*(ask(requests, [n, "x" * 500]) for n in range(300)))
        assert [2 * n for n in range(300)] == answers
        await client.write_eof()
        await serving


@once
async def test_no_more_than_so_many_requests_are_under_way():
    async with requesting(most=2) as (requests, _, server):
        asking = [await begun(ask(requests)) for _ in range(5)]
        first, second = await server.read(), await server.read()
        assert 0 == server.buffered
        await server.send([second[0], "b"])
        assert [3, "get"] == await answer_next(server, "x")
        await server.send([first[0], "x"])
        for _ in range(2):
            await answer_next(server, "y")
        assert ["x", "b", "x", "y", "y"] == await asyncio.gather(*asking)


@once
async def test_the_time_for_a_request_includes_the_wait_for_its_turn():
    async with requesting(most=1, timeout=0.01) as (requests, _, _):
        first = await begun(ask(requests, timeout=60))
        await raised(StreamTimeout, ask, requests)
        assert not first.done()
        first.cancel()


@once
async def test_a_request_that_is_cancelled_or_too_slow_costs_the_others_nothing():
    late = []
    async with requesting(most=3, timeout=60, on_other=late.append) as (requests, _, server):
        given_up, patient = await begun(ask(requests)), await begun(ask(requests))
        await raised(StreamTimeout, ask, requests, timeout=0.01, match=r"no answer after 0\.01 s")
        given_up.cancel()
        for answer in ("slow", "fast", "slow"):
            await answer_next(server, answer)
        assert "fast" == await patient
        await until(lambda: len(late) == 2)
        assert [1, 3] == [number for number, _ in late]
        gone = await begun(ask(requests))
        await answer_next(server, "gone")
        gone.cancel()
        await until(lambda: len(late) == 3)
        again = await begun(ask(requests))
        await answer_next(server, "here")
        assert "here" == await again


@once
async def test_ids_of_requests_under_way_are_not_given_twice():
    async with requesting(ids=itertools.cycle("ab")) as (requests, _, server):
        slow = await begun(ask(requests))
        assert ["a", "get"] == await server.read()
        for _ in range(3):
            quick = await begun(ask(requests))
            assert ["b", "get"] == await answer_next(server, None)
            await quick
        await server.send(["a", "done"])
        assert "done" == await slow


@once
async def test_what_answers_nobody_goes_to_a_function_or_is_logged(caplog):
    others = []
    async with requesting(on_other=others.append) as (_, client, server):
        await server.send([None, "tick"])
        await server.send([99, "who asked?"])
        await until(lambda: len(others) == 2)
    async with Requests(client, id_of):
        await server.send([None, "\x1b[31mtick"])
        await until(lambda: caplog.messages)
        await server.send([None, "tock"])
        await passes()
    [message] = caplog.messages
    assert r"no request waits for [None, '\x1b[31mtick']" in message


@once
@pytest.mark.parametrize("ids", [range(7, 8), itertools.repeat(7), itertools.cycle([7])])
async def test_without_an_id_left_a_request_is_refused_and_concerns_no_other(ids):
    async with requesting(ids=ids) as (requests, _, server):
        asked = await begun(ask(requests))
        await raised(ValueError, ask, requests, match="ids has no id left for this request: it must go on for ever")
        await answer_next(server, "it")
        assert "it" == await asked


@pytest.mark.parametrize(("end", "real_error"), [
    (lambda server: server.close(), type(None)),
    (lambda server: (server.write(b"\x93\x01"), server.close()), IncompleteFrame),
    (lambda server: server.send("hello"), ValueError),  # of id_of
    (lambda server: server.write(b"\xa1\xff"), PayloadError),
])  # fmt: skip
async def test_the_end_of_the_stream_fails_all_who_wait_and_all_who_ask_then(end, real_error):
    async with joined("tcp", framer=Msgpack()) as (client, server), Requests(client, id_of, most=2) as requests:
        asking = [await begun(ask(requests)) for _ in range(3)]
        end(server)
        failures = await asyncio.gather(*asking, return_exceptions=True)
        assert [StreamClosed] * 3 == [type(failure) for failure in failures]
        assert [real_error] * 3 == [type(failure.real_error) for failure in failures]
        await raised(StreamClosed, ask, requests)


@once
async def test_the_whole_block_reads_and_leaving_it_fails_who_waits_and_gives_the_reading_back():
    async with requesting() as (requests, client, server):
        for other in (client.read, Requests(client, id_of).__aenter__, requests.__aenter__):
            await raised(StreamBusy, other)  # and costs the stream nothing
        asking = await begun(ask(requests))
        await raised(StreamBusy, client.read)
    await raised(StreamClosed, asking)
    await server.send("hello")
    assert "hello" == await client.read()
    entering = asyncio.ensure_future(requests.__aenter__())
    asyncio.get_running_loop().call_soon(entering.cancel)
    await raised(asyncio.CancelledError, entering)
    assert not client.reading()


@once
async def test_requests_need_a_framing_and_a_stream_that_nobody_reads():
    client, _ = memory_stream_pair()
    await raised(TypeError, Requests(client, id_of).__aenter__, match="no framer")
    client.framed(Line())
    reading = await begun(client.read())
    await raised(StreamBusy, Requests(client, id_of).__aenter__)
    reading.cancel()
    for wrong in (0, -1, 1.5, None):
        refused(ValueError, Requests, client, id_of, most=wrong, match="most")
        await raised(ValueError, handle_frames, client, print, most=wrong, match="most")
    refused(TypeError, Requests, client, "id", match="id_of is 'id'; it must be a function")
    refused(TypeError, Requests, client, id_of, on_other=[], match=r"on_other is \[\]; it must be a function")
    await raised(TypeError, handle_frames, client, None, match="handler is None; it must be a function")
    await raised(StreamClosed, ask, Requests(client, id_of))  # outside its block
    await raised(TypeError, Requests(client, id_of).ask, [1, "get"], match="request is .*; it must be a function")


@once
async def test_a_request_that_cannot_be_sent_takes_no_place():
    client, server = memory_stream_pair(framer=Line())
    async with Requests(client, int, most=1) as requests:
        for _ in range(3):
            await raised(ZeroDivisionError, requests.ask, lambda number: 1 / 0)
        asking = await begun(requests.ask(str))
        await server.send(await server.read())
        assert "4" == await asking


async def test_no_more_than_so_many_handlers_run_at_once_and_the_peer_is_held_back_meanwhile():
    running, most, go = 0, 0, asyncio.Event()

    async def handler(line):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1

    async with joined("unix", framer=Line()) as (client, server):
        handling = asyncio.ensure_future(handle_frames(server, handler, most=3))
        writing = asyncio.ensure_future(client.write((b"y" * 4999 + b"\n") * 200))
        await until(lambda: running == 3)
        await passes(20)
        assert 3 == most
        assert not writing.done()
        go.set()
        await writing
        client.close()
        await handling
    assert (3, 0) == (most, running)


@once
@pytest.mark.parametrize(("sent", "error"), [
    (b"bad\nnext\n", LookupError),
    (b"\xff\nnext\n", PayloadError),
    (b"x" * 30, FramingError),
    (None, asyncio.CancelledError),
])  # fmt: skip
async def test_what_goes_wrong_cancels_all_handlers(sent, error):
    client, server = memory_stream_pair(framer=Line(), max_frame_size=20)
    ended = []

    async def handler(line):
        if line == "bad":
            raise LookupError(line)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(line)

    await client.write(b"one\ntwo\n")
    handling = await begun(handle_frames(server, handler, most=3))
    if sent is None:
        handling.cancel()
    else:
        await client.write(sent)
    await raised(error, handling)
    assert ["one", "two"] == sorted(ended)
    if sent and b"next" in sent:
        assert "next" == await server.read()
