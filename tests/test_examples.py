"""The examples run: against each other, and against real programs where they are installed."""

import asyncio
import getpass
import shutil
import smtplib
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import certificates
from stream_pairs import raised

from framestream import ConnectError, FramingError, Line, PayloadError, StreamClosed, connect, serve

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import chat_server  # noqa: E402 - it lives beside the package, in none
import key_value_server  # noqa: E402
import mail  # noqa: E402
import memcached  # noqa: E402
import neovim  # noqa: E402
from key_value_client import PROTOCOL, KeyValueClient, KeyValueError  # noqa: E402

HERE = "tcp://127.0.0.1:0"


def needs(program):
    found = shutil.which(program)
    return pytest.mark.skipif(found is None, reason=f"{program} is not installed")


@asynccontextmanager
async def running(url, *command):
    """Run a program until it listens there, and for as long as the block."""
    quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
    process = await asyncio.create_subprocess_exec(*command, **quiet)
    try:
        while True:
            with suppress(ConnectError):
                await (await connect(url)).aclose()
                break
            await asyncio.sleep(0.01)
        yield
    finally:
        process.kill()  # what is told to terminate may take its time
        await process.wait()


# Chat


async def introduced(server, name):
    member = await connect(server.url, framer=Line())
    assert "* what is your name?" == await member.read()
    await member.send(name)
    assert f"* {name} is here" == await member.read()
    return member


async def test_chat_everybody_hears_what_anybody_says_and_names_are_new_names():
    async with await chat_server.open_room(HERE) as server, await introduced(server, "ann") as ann:
        async with await introduced(server, "bob") as bob:
            assert "* bob is here" == await ann.read()
            await bob.send("hello")
            assert "bob: hello" == await ann.read() == await bob.read()
        assert "* bob has left" == await ann.read()
        async with await connect(server.url, framer=Line()) as other:
            await other.read()
            for name in ("ann", "", "not a name"):
                await other.send(name)
                assert "* that name is taken, or is none; another?" == await other.read()


async def test_chat_a_member_who_does_not_read_is_shown_out_and_holds_up_nobody(tmp_path):
    async with await chat_server.open_room(f"unix:{tmp_path}/room") as server:
        deaf = await introduced(server, "deaf")
        async with await introduced(server, "ann") as ann:
            heard = ""
            while heard != "* deaf has left":
                await ann.send("x" * 10_000)
                heard = await ann.read()
            with suppress(StreamClosed):  # what the system had taken for it may be lost or not
                async for _ in deaf.frames():
                    pass
        await deaf.aclose()


# Key-value store


@asynccontextmanager
async def store():
    async with await key_value_server.open_store(HERE) as server:
        async with await KeyValueClient.connect(server.url) as client:
            yield server, client


async def test_key_value_what_is_set_can_be_got_until_the_server_goes():
    async with store() as (server, client):
        await client.set("colour", {"name": "green", "code": b"\0\xff\0"})
        assert {"name": "green", "code": b"\0\xff\0"} == await client.get("colour")
        assert ["colour"] == await client.keys("co")
        lost = asyncio.ensure_future(client.get("other"))
        await asyncio.sleep(0)
        lost.cancel()  # costs nobody else their reply
        assert await client.delete("colour")
        assert not await client.delete("colour")
        assert await client.get("colour") is None
        await server.aclose()
        await raised(StreamClosed, client.get, "colour")


async def test_key_value_requests_are_pipelined():
    async with store() as (server, client):
        await asyncio.gather(*(client.set(f"key{i}", i) for i in range(300)))
        assert list(range(300)) == await asyncio.gather(*(client.get(f"key{i}") for i in range(300)))
        (stream,) = server.streams
        assert stream.stats.frames_received == 600


async def test_key_value_a_refusal_is_an_error_and_the_connection_goes_on():
    async with store() as (_, client):
        await raised(KeyValueError, client._ask, "increment", "key", match="no operation 'increment'")
        await raised(KeyValueError, client._ask, "get", match="'get' does not take these arguments")
        for key in (5, None, ["a"], b"a"):
            await raised(KeyValueError, client.set, key, "value", match="is no key: a key is text")
        await client.set("key", "value")
        assert ["key"] == await client.keys()


async def test_key_value_what_is_no_request_is_the_peers_mistake(caplog):
    requests = 5, None, "get", [], [1], [1, 2], {"id": 1}
    async with store() as (server, client):
        for request in requests:
            async with await connect(server.url, framer=PROTOCOL) as other:
                await other.send(request)
                await raised(StreamClosed, other.read)
        assert (len(requests), 0) == (server.stats.peer_failures, server.stats.handler_failures)
        assert await client.get("key") is None


REPLIES = [5, [], [0], [0, None], [0, 5, None], [[], None, 1], {}, "abc"]


@pytest.mark.parametrize(("reply", "error", "message"), [
    *((PROTOCOL.encode(reply), FramingError, "a reply is") for reply in REPLIES),
    (b"\0\0\0\1\xc1", PayloadError, None),
])  # fmt: skip
async def test_key_value_a_reply_that_is_none_is_told_to_everybody_who_waits(reply, error, message):
    async def answer(stream):
        await stream.read_bytes(1)
        await stream.write(b"".join(reply) if isinstance(reply, list) else reply)
        await stream.read_until_close()

    async with await serve(answer, HERE, drain_timeout=0) as server:
        async with await KeyValueClient.connect(server.url) as client:
            asked = [asyncio.ensure_future(client.get(key)) for key in ("one", "two")]
            for question in asked:
                with pytest.raises(StreamClosed, match=message) as caught:
                    await question
                assert isinstance(caught.value.real_error, error)
            await raised(StreamClosed, client.get, "three")


# Neovim


async def drive(editor):
    await editor.request("nvim_buf_set_lines", 0, 0, -1, False, ["one", "two"])
    assert 2 == await editor.request("nvim_eval", "line('$')")
    channel, _ = await editor.request("nvim_get_api_info")
    await editor.request("nvim_command", f"call rpcnotify({channel}, 'greet', 'h\u00e9llo', 1)")
    assert neovim.Notification("greet", ["h\u00e9llo", 1]) == await editor.notifications.get()
    await raised(neovim.NeovimError, editor.request, "nvim_eval", "nosuch()", match="Unknown function: nosuch")
    lines = [f"line {i}" for i in range(20_000)]
    await editor.request("nvim_buf_set_lines", 0, 0, -1, False, lines)
    assert lines == await editor.request("nvim_buf_get_lines", 0, 0, -1, False)


@needs("nvim")
@pytest.mark.parametrize("through", ["pipes", "socket"])
async def test_neovim_is_driven_through_its_pipes_or_a_socket(through, tmp_path):
    command = "nvim", "--headless", "-u", "NONE", "-i", "NONE"
    url = f"unix:{tmp_path}/nvim.sock"
    if through == "socket":
        async with running(url, *command, "--listen", f"{tmp_path}/nvim.sock"), neovim.attach(url) as editor:
            await drive(editor)
        return
    async with neovim.attach(f"exec:{' '.join(command)} --embed") as editor:
        await drive(editor)
        quitting = asyncio.ensure_future(editor.request("nvim_command", "quitall!"))
        with pytest.raises(StreamClosed, match="before the answer came"):
            await quitting


# memcached


@needs("memcached")
async def test_memcached_keeps_what_it_is_given(tmp_path):
    url = f"unix:{tmp_path}/memcached.sock"
    async with running(url, "memcached", "-u", getpass.getuser(), "-s", url.removeprefix("unix:")):
        async with await memcached.Memcached.connect(url) as cache:
            assert "1." == (await cache.version())[:2]
            tricky = b"END\r\nVALUE x 0 1\r\n"
            assert await cache.set("tricky", tricky)
            assert await cache.set("large", b"x" * 900_000)
            assert {"tricky": tricky, "large": b"x" * 900_000} == await cache.get("tricky", "none", "large")
            assert await cache.set("number", b"41")
            assert 42 == await cache.increment("number")
            assert await cache.increment("none") is None
            assert await cache.delete("number")
            assert not await cache.delete("number")
            await raised(memcached.MemcachedError, cache.increment, "tricky", match="CLIENT_ERROR")


@asynccontextmanager
async def imitation(*answers):
    """Give a client of a server that sends these whatever it is asked, what that heard, and the answers."""
    heard, ready = [], asyncio.Queue()
    for prepared in answers:
        ready.put_nowait(prepared)

    async def answer(stream):
        async for line in stream.frames(Line(newline="crlf")):
            heard.append(line)
            await stream.write(await ready.get())

    async with await serve(answer, HERE, drain_timeout=0) as server:
        async with await memcached.Memcached.connect(server.url) as cache:
            yield cache, heard, ready


@pytest.mark.parametrize("given_up", ["asked", "waiting"])
async def test_memcached_an_answer_that_nobody_waited_for_is_nobody_elses(given_up):
    async with imitation() as (cache, heard, ready):
        first = asyncio.ensure_future(cache.get("a"))
        second = asyncio.ensure_future(cache.get("b"))
        while not heard:
            await asyncio.sleep(0)
        (first if given_up == "asked" else second).cancel()
        ready.put_nowait(b"VALUE a 0 1\r\n1\r\nEND\r\n")
        ready.put_nowait(b"END\r\n")
        if given_up == "asked":
            with pytest.raises(StreamClosed):
                await second
        else:  # waiting for a turn can be given up
            assert {"a": b"1"} == await first


async def test_memcached_an_answer_that_is_none_ends_the_connection():
    async with imitation(b"VALUE a\r\n") as (cache, *_):
        await raised(ValueError, cache.get, "a", match="not enough values")
        await raised(StreamClosed, cache.get, "a")


async def test_memcached_what_is_no_key_is_not_sent():
    async with imitation(b"VERSION 1\r\n") as (cache, heard, _):
        for key in ("", "a b", "a\r\nflush_all", "x" * 251, "\x7f", "\u00e9" * 126):
            for request in (cache.get("a", key), cache.set(key, b""), cache.delete(key), cache.increment(key)):
                with pytest.raises(ValueError, match="is no key"):
                    await request
        assert ("1", ["version"]) == (await cache.version(), heard)


# Mail


@asynccontextmanager
async def mail_server():
    server = mail.MailServer(certificates().server())
    async with await mail.open_mail_server(server, "tcp://localhost:0") as listening:
        yield server, listening.url


async def test_mail_is_sent_and_that_of_another_client_is_taken_under_tls():
    def send_with_smtplib(port, context):
        with smtplib.SMTP("localhost", port, timeout=10) as client:
            client.ehlo()
            client.starttls(context=context)
            client.sendmail(letter.sender, letter.recipients, "Subject: hello\n\n.\nbye\n")

    text = b"Subject: dots\r\n\r\n.\r\n..\r\n.end\r\n"
    letter = mail.Mail("ann@example.org", ["bob@example.org", "eve@example.org"], text)
    async with mail_server() as (server, url):
        await mail.send_mail(url, letter, certificates().client(), "localhost")
        port = int(url.rpartition(":")[2])
        await asyncio.to_thread(send_with_smtplib, port, certificates().client())
    assert [letter, replace(letter, text=b"Subject: hello\r\n\r\n.\r\nbye\r\n")] == server.mails


async def test_mail_is_refused_in_plaintext_and_so_are_commands_slipped_in_ahead_of_tls():
    async with mail_server() as (server, url):
        async with await connect(url, framer=mail.LINE) as client:
            await client.read()
            await client.send("MAIL FROM:<eve@example.org>")
            assert "530 must issue a STARTTLS command first" == await client.read()
            await client.write(b"STARTTLS\r\nMAIL FROM:<eve@example.org>\r\n")
            assert "220 go ahead" == await client.read()
            await raised((StreamClosed, ssl.SSLError), client.read)
    assert [] == server.mails


# As programs


@pytest.mark.parametrize("name", ["chat_server", "key_value_server"])
def test_servers_run_as_programs_and_end_when_told(name):
    command = [sys.executable, EXAMPLES / f"{name}.py", "tcp://127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert b"on tcp://127.0.0.1:" in server.stdout.readline()
        server.terminate()
        assert (b"", b"") == server.communicate()
        assert 0 == server.returncode


@needs("nvim")
def test_neovim_runs_as_a_program():
    command = [sys.executable, EXAMPLES / "neovim.py", "exec:nvim --embed --headless -u NONE -i NONE"]
    ran = subprocess.run(command, capture_output=True, check=True)
    version, *lines = ran.stdout.decode().splitlines()
    assert version.startswith("Neovim 0.")
    assert ["one", "<two>", "<three>"] == lines
