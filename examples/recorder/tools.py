"""Programs on the desk of a developer: neovim, git, jq, tar, openssl."""

from __future__ import annotations

import contextlib
import itertools
import os
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorder import cutters
from recorder.programs import connect, free_port, output_of, read_some, running
from recorder.recipe import capture


def pack(value: object) -> bytes:
    """Return a small value as msgpack: enough to call neovim."""
    match value:
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int() if 0 <= value < 128:
            return bytes([value])
        case str():
            text = value.encode()
            return b"\xda" + len(text).to_bytes(2, "big") + text
        case list():
            return bytes([0x90 | len(value)]) + b"".join(map(pack, value))
        case dict():
            return bytes([0x80 | len(value)]) + b"".join(map(pack, itertools.chain(*value.items())))
    raise ValueError(f"cannot pack {value!r}")


@capture("neovim-rpc", program="nvim", package="neovim", cuts={"msgpack": cutters.msgpack})
def neovim_rpc(folder: Path) -> bytes:
    """msgpack-rpc of an embedded editor: its API description, buffer events, screen updates, an error."""
    calls: list[tuple[str, list[object]]] = [
        ("nvim_get_api_info", []),
        ("nvim_buf_attach", [0, False, {}]),
        ("nvim_buf_set_lines", [0, 0, 1, True, [f"line {number}" for number in range(9)]]),
        ("nvim_command", ["normal! gg2dd"]),
        ("nvim_command", ["%s/line/row/"]),
        ("nvim_eval", ["{'pi': 3.14159, 'minus': -70000, 'list': range(300), 'none': v:null}"]),
        ("nvim_no_such_function", []),
        ("nvim_ui_attach", [60, 12, {"ext_linegrid": True}]),
        ("nvim_input", ["ihello<Esc>"]),
        ("nvim_get_mode", []),
        ("nvim_buf_get_lines", [0, 0, 3, True]),
        ("nvim_command", ["qa!"]),
    ]
    home = os.environ | {"HOME": str(folder), "LC_ALL": "C.UTF-8", "NVIM_LOG_FILE": str(folder / "log")}
    home["XDG_DATA_HOME"] = home["XDG_STATE_HOME"] = home["XDG_CONFIG_HOME"] = str(folder)
    flags = ("--embed", "--headless", "--clean", "-i", "NONE", "-n")
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with running("nvim", *flags, env=home, cwd=folder, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        received = b""
        for number, (name, arguments) in enumerate(calls):
            process.stdin.write(pack([0, number, name, arguments]))
            process.stdin.flush()
            while not _answered(received, number, redraw=name == "nvim_ui_attach"):
                if not (data := read_some(process.stdout)):
                    return received  # the last call ends the editor, which need not answer it
                received += data
        raise RuntimeError("the editor did not end")


def _answered(received: bytes, number: int, *, redraw: bool) -> bool:
    """Tell if the last message is whole and the answer [1, number, ...] is there, and a screen if due."""
    if cutters.count(cutters.msgpack, received) < 1 or (redraw and b"\xa5flush" not in received):
        return False
    return any(received.startswith(bytes([0x94, 1, number]), at) for at in [0, *cutters.msgpack(received)])


@capture("git-paths", program="git", package="git", cuts={r'delimiter:"\0"': cutters.delimited(b"\0")})
def git_paths(folder: Path) -> bytes:
    """What `git ls-files -z` prints: paths, some with spaces or newlines, each ended by a zero byte."""
    names = ["read me.txt", "two\nlines", "gr\u00fc\u00dfe", "\u6587\u5b57", '"quoted"', "tab\there", "-rf"]
    names += [f"src/module{number}.py" for number in range(20)]
    (folder / "src").mkdir()
    for name in names:
        (folder / name).write_text("")
    settings = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for command in (["init", "--quiet"], ["add", "--all"]):
        output_of("git", *command, cwd=folder, env=settings)
    return output_of("git", "ls-files", "-z", cwd=folder, env=settings)


@capture("jq-json-lines", program="jq", package="jq", cuts={"line": cutters.delimited(b"\n")})
def jq_json_lines(_folder: Path) -> bytes:
    """One JSON object to a line, 100 of them."""
    program = 'range(100) | {n: ., half: (. / 2), stars: ("*" * .)}'
    return output_of("jq", "--null-input", "--compact-output", program)


@capture("tar-blocks", program="tar", package="tar", cuts={"fixed-length:512": cutters.fixed(512)})
def tar_blocks(folder: Path) -> bytes:
    """A tar archive: headers and data in blocks of 512 bytes."""
    (folder / "files").mkdir()
    for number in range(6):
        (folder / "files" / f"{number}.txt").write_text(f"{number}\n" * 300 * number)
    reproducible = ["--format=ustar", "--sort=name", "--mtime=@1700000000", "--mode=0644"]
    reproducible += ["--numeric-owner", "--owner=0", "--group=0"]
    return output_of("tar", *reproducible, "--blocking-factor=1", "-cf", "-", "files", cwd=folder)


@capture(
    "openssl-tls-records",
    program="openssl",
    package="openssl",
    cuts={"length-prefix:size=2,offset=3": cutters.prefixed(2, offset=3)},
)
def openssl_tls_records(folder: Path) -> bytes:
    """TLS 1.3 records of a server that sends lines back reversed: handshake, tickets, data, close."""
    port, key, certificate = free_port(), folder / "key.pem", folder / "certificate.pem"
    request = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "365",
    ]
    files = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    output_of("openssl", *request, *files, stderr=subprocess.DEVNULL)
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(arrived, leaving)
    server = ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", key, "-cert", certificate)
    with running(*server, "-rev", "-naccept", "1") as process, connect(port, process) as wire:

        def run(step: Callable[..., Any], *arguments: object) -> Any:
            """Do one TLS step, moving records until it succeeds."""
            while True:
                with contextlib.suppress(ssl.SSLWantReadError):
                    return step(*arguments)
                wire.send(leaving.read())
                seen = len(wire.received)
                arrived.write(wire.until(lambda data, seen=seen: len(data) > seen)[seen:])

        run(session.do_handshake)
        for number in range(12):
            session.write(b"line %d %s\n" % (number, b"." * 20 * number))
            wire.send(leaving.read())
            while b"\n" not in run(session.read, 65536):
                pass
        session.write(b"CLOSE\n")
        while run(session.read, 65536):
            pass
        session.unwrap()
        wire.send(leaving.read())
        return wire.rest()
