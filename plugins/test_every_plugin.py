"""What every plugin here, and each of its framers, owes its users, whatever else its own tests say."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framestream import FramingError, PayloadError, available_framers, get_framer, iter_frames
from framestream.testing import fuzz_framer
from framestream.testing.driver import read_whole
from framestream.testing.streams import check_exact, find_start

NAMES = [info.name for info in available_framers() if (info.distribution or "").startswith("framestream-")]

# How a payload is put into framing that it cannot break, and a good frame to stand before and after it.
FRAMED: dict[str, tuple[Callable[[bytes], bytes], bytes]] = {
    "cobs": (lambda payload: payload.replace(b"\0", b"") + b"\5\0", b"\2a\0"),
    "slip": (lambda payload: payload.replace(b"\xc0", b"") + b"\xdb\xc0", b"a\xc0"),
    "fstrm": (lambda payload: b"\0\0\0\0\0\0\0%c%b%b" % (len(payload) + 4, bytes(4), payload), b"\0\0\0\1a"),
    "json-lines": (lambda payload: payload.replace(b"\n", b"") + b"]\n", b"1\n"),
    "json-seq": (lambda payload: b"\x1e]" + payload.replace(b"\x1e", b""), b"\x1e1\n"),
    "lsp": (lambda payload: b"Content-Length: %d\r\n\r\n%b" % (len(payload), payload), b"Content-Length: 1\r\n\r\n1"),
    "resp": (lambda payload: b"*2\r\n,%bx\r\n:1\r\n" % payload.hex().encode(), b":1\r\n"),
}


@pytest.mark.parametrize("name", FRAMED)
@given(payloads=st.lists(st.binary(max_size=60), max_size=5), size=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_a_payload_that_cannot_be_decoded_costs_no_other(name: str, payloads: list[bytes], size: int) -> None:
    put, good = FRAMED[name]
    framer, bad = get_framer(name), list[PayloadError]()
    [expected] = iter_frames(good, framer)
    wire = b"".join(put(payload) + good for payload in payloads)
    chunks = [wire[at : at + size] for at in range(0, len(wire), size)]
    frames = list(iter_frames(chunks, framer, on_payload_error=bad.append))
    assert frames.count(expected) >= len(payloads)
    assert all(wire[error.payload_offset :].startswith(error.payload) for error in bad)
    assert len(frames) + len(bad) >= 2 * len(payloads)


MISCOUNTED = re.compile(r"\b1 (bytes|octets|digits|checksums)\b")
SYNCHRONISE = [name for name in NAMES if get_framer(name).synchronises]


@pytest.mark.parametrize("name", SYNCHRONISE)
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_from_any_place_a_frame_is_found_and_exactly_the_next_one_where_that_is_promised(
    name: str, data: st.DataObject
) -> None:
    framer: Any = get_framer(name)
    pieces = st.sampled_from([*framer.examples, b"\n", b"\0", b"\x1e", b"\xc0", b" ", b"\xef\xbb\xbf"])
    wire = b"".join(data.draw(st.lists(pieces | st.binary(max_size=4), max_size=8))) + b"x"
    start, step = data.draw(st.integers(1, len(wire))), data.draw(st.none() | st.integers(1, 9))
    place = find_start(framer, wire, start, step=step)
    assert start <= place == find_start(framer, wire, start) <= len(wire)
    if framer.synchronises == "exact":
        check_exact(framer, wire, read_whole(framer, wire), start, place)


@pytest.mark.parametrize("name", NAMES)
@given(wire=st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_whatever_arrives_nothing_but_the_peers_errors_are_raised(name: str, wire: bytes) -> None:
    framer: Any = get_framer(name)
    start = next(iter(framer.examples))[:8] if wire[:1] < b"\x80" else b""
    told = list[Exception]()
    try:
        list(iter_frames(start + wire, framer, on_payload_error=told.append))
    except FramingError as error:
        told.append(error)
    assert not [error for error in told if MISCOUNTED.search(str(error))]


SINGULAR = {
    ("cobs", b"\3a\0"): "code 3 at 0 reaches 1 byte beyond the end",
    ("fstrm", b"\0\0\0\0\0\0\0\1"): "control frame of 1 byte, it must be from 4 to 512",
    ("mqtt", b"\x30\1"): "PUBLISH with a body of 1 byte, it must be at least 3",
    ("tpkt", b"\3\0\0\1"): "TPKT of 1 byte, it must be at least 7",
}


@pytest.mark.parametrize(("name", "wire"), SINGULAR)
def test_one_of_a_kind_is_told_in_the_singular(name: str, wire: bytes) -> None:
    with pytest.raises((FramingError, PayloadError), match=re.escape(SINGULAR[name, wire])):
        list(iter_frames(wire, name))


# fmt: off
SPECS = [
    "ber:max=1MiB", "cobs:max=1KiB", "cobs-r:max=1KiB", "erlang-packet:size=2,max=1KiB", "fastcgi:align=1", "fix:skip",
    "fstrm:max=64KiB", "giop:max=1KiB", "http-chunk:max=8KiB", "http-chunked:max=8KiB",
    "http-request:bare-lf,max=8KiB", "http-response:max=8KiB", "journal-export:max=8KiB", "json-array:max=1MiB",
    "json-concat:max=1MiB", "json-lines:last=no", "json-seq:max-depth=9", "lsp:max=16MiB,max-header=1KiB",
    "mqtt:version=4", "mqtt:version=5,max=64KiB", "netstring:max=64KiB", "nmea:checksum=no", "nmea:skip",
    "pcapng:max=8KiB", "protobuf:max=8KiB", "proxy:version=1", "record-marking:fragment=1KiB",
    "resp:version=2,max-depth=8", "slip:leading,strict=no,max=2KiB", "syslog:framing=octet-counting",
    r'syslog:framing=non-transparent,trailer="\0",max=64KiB', "tfrecord:max=8KiB", "tpkt:max=1KiB", "ubx:skip",
    "warc:max=8KiB", "websocket:masked=no,rsv=4,max=64KiB",
]
# fmt: on


def test_they_are_found_by_name_with_their_options() -> None:
    assert SPECS == [str(get_framer(spec)) for spec in SPECS]
    assert set(NAMES) <= {get_framer(spec).name for spec in SPECS}


@pytest.mark.parametrize("spec", [*NAMES, *SPECS])
def test_spoilt_streams_read_alike_however_they_arrive(spec: str) -> None:
    framer: Any = get_framer(spec)
    assert fuzz_framer(framer, list(framer.examples), iterations=100).iterations == 100


# The stand-in for Tornado's streams would stay in place for the tests after it.
READMES = [path for path in Path(__file__).parent.glob("*/README.md") if path.parent.name != "tornado"]


@pytest.mark.filterwarnings("default")  # of what the engines import
@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_readme_tells_the_truth(readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = readme.read_text(encoding="utf-8")
    for module in re.findall(r"<!-- needs (\S+) -->", page):
        pytest.importorskip(module, reason=f"{module} is not installed")
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, str(readme), "exec"), {})  # noqa: S102  # it is ours
