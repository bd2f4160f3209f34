"""Overlapping requests over one stream, and handlers of frames that run at once: msgpack-rpc over sockets."""

import asyncio
import itertools

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
every_kind = pytest.mark.parametrize("kind", ["tcp", "tls", "memory"])

REQUEST, ANSWER, NOTIFICATION = 0, 1, 2


def id_of(message):
    """Return the id of the request that a message of msgpack-rpc answers."""
    match message:
        case [1, number, _, _]:
            return number
        case [0 | 2, *_]:
            return None
    raise FramingError(f"{message!r} is no message of msgpack-rpc")


def request(method, *arguments):
    return lambda number: [REQUEST, number, method, list(arguments)]


def answer_to(request, result):
    return [ANSWER, request[1], None, result]


def pair(**options):
    return memory_stream_pair(framer=Msgpack(), **options)


async def double(stream):
    """Answer requests as a server that takes its time, and so in another order."""

    async def answer(request):
        for _ in range(20 - request[3][0] % 20):
            await asyncio.sleep(0)
        await stream.send(answer_to(request, 2 * request[3][0]))

    await handle_frames(stream, answer)


@every_kind
async def test_each_answer_reaches_who_asked_in_whatever_order_and_while_the_peer_takes_no_more(kind):
    async with joined(kind, framer=Msgpack(), half_open=True, write_high_water=1000) as (client, server):
        serving = asyncio.ensure_future(double(server))
        async with Requests(client, id_of, most=1000) as requests:
            answers = await asyncio.gather(*(requests.ask(request("double", n, "x" * 500)) for n in range(300)))
        assert [2 * n for n in range(300)] == [result for _, _, _, result in answers]
        await client.write_eof()
        await serving


@once
async def test_no_more_than_so_many_requests_are_under_way():
    client, server = pair()
    async with Requests(client, id_of, most=2) as requests:
        asking = [await begun(requests.ask(request("get", n))) for n in range(5)]
        first, second = await server.read(), await server.read()
        assert 0 == server.buffered
        await server.send(answer_to(second, "b"))
        third = await server.read()
        assert [3] == [third[1]]
        for asked in (first, third):
            await server.send(answer_to(asked, "x"))
        for _ in range(2):
            await server.send(answer_to(await server.read(), "y"))
        assert ["x", "b", "x", "y", "y"] == [result for _, _, _, result in await asyncio.gather(*asking)]


@once
async def test_the_time_for_a_request_includes_the_wait_for_its_turn():
    client, _ = pair()
    async with Requests(client, id_of, most=1, timeout=0.01) as requests:
        first = await begun(requests.ask(request("slow"), timeout=60))
        await raised(StreamTimeout, requests.ask, request("waits"))
        assert not first.done()
        first.cancel()


@once
async def test_a_request_that_is_cancelled_or_too_slow_costs_the_others_nothing():
    client, server = pair()
    late = []
    async with Requests(client, id_of, most=3, timeout=60, on_other=late.append) as requests:
        given_up = await begun(requests.ask(request("slow")))
        patient = await begun(requests.ask(request("fast")))
        with pytest.raises(StreamTimeout, match=r"no answer after 0\.01 s"):
            await requests.ask(request("slow"), timeout=0.01)
        given_up.cancel()
        asked = [await server.read() for _ in range(3)]
        for each in asked:
            await server.send(answer_to(each, each[2]))
        assert [ANSWER, 2, None, "fast"] == await patient
        await until(lambda: len(late) == 2)
        assert [1, 3] == [message[1] for message in late]
        gone = await begun(requests.ask(request("gone")))
        server.send(answer_to(await server.read(), "gone"))
        gone.cancel()
        await until(lambda: len(late) == 3)
        whole = await begun(requests.ask(request("again")))
        await server.send(answer_to(await server.read(), "here"))
        assert "here" == (await whole)[3]


@once
async def test_ids_of_requests_under_way_are_not_given_twice():
    client, server = pair()
    async with Requests(client, id_of, ids=itertools.cycle("ab")) as requests:
        slow = await begun(requests.ask(request("slow")))
        for _ in range(3):
            quick = await begun(requests.ask(request("quick")))
            asked = await server.read()
            if asked[2] == "slow":
                asked = await server.read()
            assert "b" == asked[1]
            await server.send(answer_to(asked, None))
            await quick
        await server.send([ANSWER, "a", None, "done"])
        assert "done" == (await slow)[3]


@once
async def test_what_answers_nobody_goes_to_a_function_or_is_logged(caplog):
    client, server = pair()
    others = []
    async with Requests(client, id_of, on_other=others.append):
        await server.send([NOTIFICATION, "tick", [1]])
        await server.send([ANSWER, 99, None, "who asked?"])
        await until(lambda: len(others) == 2)
    async with Requests(client, id_of):
        await server.send([NOTIFICATION, "\x1b[31mtick", []])
        await until(lambda: caplog.messages)
        await server.send([NOTIFICATION, "tock", []])
        await passes()
    [message] = caplog.messages
    assert r"no request waits for [2, '\x1b[31mtick', []]" in message


@once
@pytest.mark.parametrize("ids", [range(7, 8), itertools.repeat(7), itertools.cycle([7])])
async def test_without_an_id_left_a_request_is_refused_and_concerns_no_other(ids):
    client, server = pair()
    async with Requests(client, id_of, ids=ids) as requests:
        asked = await begun(requests.ask(request("get")))
        with pytest.raises(ValueError, match="ids has no id left for this request: it must go on for ever"):
            await requests.ask(request("get"))
        await server.send(answer_to(await server.read(), "it"))
        assert "it" == (await asked)[3]


@pytest.mark.parametrize(("end", "real_error"), [
    (lambda server: server.close(), type(None)),
    (lambda server: (server.write(b"\x93\x01"), server.close()), IncompleteFrame),
    (lambda server: server.send("hello"), FramingError),
    (lambda server: server.write(b"\xa1\xff"), PayloadError),
])  # fmt: skip
async def test_the_end_of_the_stream_fails_all_who_wait_and_all_who_ask_then(end, real_error):
    async with joined("tcp", framer=Msgpack()) as (client, server):
        async with Requests(client, id_of, most=2) as requests:
            asking = [await begun(requests.ask(request("get"))) for _ in range(3)]
            end(server)
            failures = await asyncio.gather(*asking, return_exceptions=True)
            assert [StreamClosed] * 3 == [type(failure) for failure in failures]
            assert [real_error] * 3 == [type(failure.real_error) for failure in failures]
            await raised(StreamClosed, requests.ask, request("get"))


@once
async def test_leaving_the_block_fails_who_waits_and_gives_the_reading_back():
    client, server = pair()
    async with Requests(client, id_of) as requests:
        asking = await begun(requests.ask(request("get")))
        await raised(StreamBusy, client.read)
    await raised(StreamClosed, asking)
    await server.send("hello")
    assert "hello" == await client.read()


@once
async def test_from_the_beginning_of_the_block_nothing_else_reads_and_another_try_costs_nothing():
    client, server = pair()
    async with Requests(client, id_of) as requests:
        for other in (client.read, Requests(client, id_of).__aenter__, requests.__aenter__):
            await raised(StreamBusy, other)
        asking = await begun(requests.ask(request("get")))
        await server.send(answer_to(await server.read(), "it"))
        assert "it" == (await asking)[3]
    entering = asyncio.ensure_future(requests.__aenter__())
    asyncio.get_running_loop().call_soon(entering.cancel)
    await raised(asyncio.CancelledError, entering)
    assert not client.reading()


@once
async def test_requests_need_a_framing_and_a_stream_that_nobody_reads():
    client, _ = memory_stream_pair()
    with pytest.raises(TypeError, match="no framer"):
        async with Requests(client, id_of):
            pass
    client.framed(Line())
    reading = await begun(client.read())
    with pytest.raises(StreamBusy):
        async with Requests(client, id_of):
            pass
    reading.cancel()
    for wrong in (0, -1, 1.5, None):
        refused(ValueError, Requests, client, id_of, most=wrong, match="most")
        await raised(ValueError, handle_frames, client, print, most=wrong, match="most")
    refused(TypeError, Requests, client, "id", match="id_of is 'id'; it must be a function")
    refused(TypeError, Requests, client, id_of, on_other=[], match=r"on_other is \[\]; it must be a function")
    await raised(TypeError, handle_frames, client, None, match="handler is None; it must be a function")
    await raised(StreamClosed, Requests(client, id_of).ask, request("double", 1))  # outside its block
    whole = request("double", 1)(1)
    await raised(TypeError, Requests(client, id_of).ask, whole, match="request is .*; it must be a function")


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
