"""Listening sockets and accepting, without streams."""

import asyncio
import errno
import os
import socket
import subprocess
import sys

import pytest
from loopback import resolve_to
from stream_pairs import raised

from framestream.errors import AddressError
from framestream.net.sockets import ACCEPT_PAUSE, Acceptor, activated_sockets, close_all, listen
from framestream.net.urls import parse_url


async def listening(url, *, backlog=300, reuse_port=False):
    return await listen(parse_url(url), backlog=backlog, reuse_port=reuse_port)


async def test_port_0_is_one_free_port_for_every_address_of_the_host():
    sockets = await listening("tcp://:0")
    (port,) = {sock.getsockname()[1] for sock in sockets}
    close_all(sockets)
    assert port


async def test_an_address_in_use_or_a_host_that_does_not_resolve_is_reported_with_the_url():
    (taken,) = await listening("tcp://127.0.0.1:0")
    url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    caught = await raised(OSError, listening, url, match=f"^cannot listen on {url}: address already in use$")
    close_all([taken])
    assert errno.EADDRINUSE == caught.errno
    await raised(OSError, listening("tcp://nowhere.invalid:0"), match=r"^cannot listen on tcp://nowhere\.invalid:0: ")


async def test_two_can_listen_on_one_port_when_both_say_so():
    (first,) = await listening("tcp://127.0.0.1:0", reuse_port=True)
    (second,) = await listening(f"tcp://127.0.0.1:{first.getsockname()[1]}", reuse_port=True)
    assert first.getsockname() == second.getsockname()
    close_all([first, second])


@pytest.mark.asyncio_only
async def test_one_address_of_a_host_is_enough_and_none_is_an_error(monkeypatch):
    resolve_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    sockets = await listening("tcp://example.org:0")
    assert ["127.0.0.1"] == [sock.getsockname()[0] for sock in sockets]
    close_all(sockets)
    resolve_to(monkeypatch, "192.0.2.1")
    with pytest.raises(OSError, match=r"listen on tcp://example\.org:0: cannot assign requested address"):
        await listening("tcp://example.org:0")
    # A port chosen for one address that is taken at another is chosen again, and not for ever.
    resolve_to(monkeypatch, "127.0.0.1", "0.0.0.0")
    tried, create = set(), socket.create_server
    monkeypatch.setattr(socket, "create_server", lambda place, **it: tried.add(place[1]) or create(place, **it))
    with pytest.raises(OSError, match=r"cannot listen on tcp://example\.org:0: address already in use"):
        await listening("tcp://example.org:0")
    assert len(tried) > 2


async def test_a_stale_socket_file_is_replaced_and_everything_else_left_alone(tmp_path, monkeypatch):
    url, precious = f"unix:{tmp_path}/socket", tmp_path / "file"
    close_all(await listening(url))
    sockets = await listening(url, backlog=0)
    with socket.socket(socket.AF_UNIX) as waiting:  # in the backlog, which is full then
        waiting.connect(f"{tmp_path}/socket")
        await raised(OSError, listening, url, match=f"cannot listen on {url}: address already in use")
    close_all(sockets)
    precious.write_text("precious")
    await raised(OSError, listening, f"unix:{precious}", match="address already in use")
    assert "precious" == precious.read_text()
    monkeypatch.chdir(tmp_path)
    for url in ("unix:./@other", "unix:@other"):  # the second has no file
        close_all(await listening(url))
    assert {"file", "socket", "@other"} == set(os.listdir())


async def test_what_cannot_listen_is_refused_and_left_open():
    with socket.socket() as unbound, pytest.raises(AddressError, match="is a socket that does not listen"):
        await listening(f"fd:{unbound.fileno()}")
    with open(os.devnull) as file, pytest.raises(AddressError, match=r"descriptor \d+ is not a socket"):
        await listening(f"fd:{file.fileno()}")


# Socket activation: the environment and the descriptors are those of a process of its own

ACTIVATED = """
import os, sys
from framestream.errors import AddressError
from framestream.net.sockets import activated_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
for name in sys.argv[1:]:
    try:
        print([sock.detach() for sock in activated_sockets(name)])
    except AddressError as error:
        print(error)
"""


def activate(*names, **environment):
    """Return what a process finds that was started with two listening sockets as descriptors 3 and 4."""
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("127.0.0.1", 0)) as admin:
        # By way of numbers out of the way of 3 and 4, so that moving one does not overwrite the other.
        moves = f"exec 50<&{web.fileno()} 51<&{admin.fileno()}; exec 3<&50 4<&51"
        ran = subprocess.run(
            ["/bin/bash", "-c", f'{moves}; exec "$@"', "bash", sys.executable, "-c", ACTIVATED, *names],
            env={**os.environ, **environment},
            pass_fds=[web.fileno(), admin.fileno()],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return ran.stdout.splitlines()


def test_the_sockets_the_service_manager_passed_are_found():
    found = activate("", "admin", "other", LISTEN_FDS="2", LISTEN_FDNAMES="web:admin")
    assert ["[3, 4]", "[4]", "no socket named 'other' was passed to this process, only web, admin"] == found
    assert ["[3, 4]"] == activate("", LISTEN_FDS="2")


@pytest.mark.parametrize("variables", [
    {}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
    *({"LISTEN_FDS": text} for text in ("abc", "-1", "", "\u0663", "9" * 5000)),
])  # fmt: skip
def test_no_sockets_or_those_of_another_process_are_not_enough(variables):
    with pytest.raises(AddressError, match="no socket named 'web' was passed to this process"):
        activated_sockets("web", {"LISTEN_PID": str(os.getpid()), **variables})


class Unlucky(socket.socket):
    """A listening socket that fails a few times before it accepts."""

    errors: list[int]

    def accept(self):
        if self.errors:
            raise OSError(self.errors.pop(), "unlucky")
        return super().accept()


@pytest.mark.no_waiting
async def test_accepting_that_fails_is_tried_once_after_each_pause_however_often_it_was_notified_before():
    (sock,) = await listening("tcp://127.0.0.1:0")
    unlucky, failed_at = Unlucky(fileno=sock.detach()), []
    loop = asyncio.get_running_loop()
    unlucky.errors = [errno.EMFILE] * 1000
    acceptor = Acceptor(
        [unlucky], on_connection=print, on_failure=lambda _: failed_at.append(loop.time()), room=lambda: 1000
    )
    with socket.create_connection(unlucky.getsockname()):
        for _ in range(50):  # as after the end of each of so many connections
            acceptor.notify()
            await asyncio.sleep(ACCEPT_PAUSE / 100)
        await asyncio.sleep(10 * ACCEPT_PAUSE)
        acceptor.close()
    last, *later = failed_at[49:]
    assert [pytest.approx(last + count * ACCEPT_PAUSE) for count in range(1, 11)] == later


async def test_a_connection_that_was_gone_before_it_was_accepted_hinders_nobody_and_others_get_the_backlog():
    (sock,) = await listening("tcp://127.0.0.1:0")
    came, failures = asyncio.Queue(), []
    unlucky = Unlucky(fileno=sock.detach())
    unlucky.errors = [errno.ECONNABORTED] * 3
    acceptor = Acceptor(
        [unlucky],
        on_connection=lambda connection, _: came.put_nowait(connection),
        on_failure=failures.append,
        room=lambda: 1000,
    )
    acceptor.notify()
    waiting = [socket.create_connection(unlucky.getsockname()) for _ in range(2)]
    close_all([await came.get(), await came.get(), *waiting])
    assert [] == failures
    with socket.create_connection(unlucky.getsockname()):
        acceptor.close(take_backlog=False)  # for whoever else listens on the same socket
        assert came.empty()
