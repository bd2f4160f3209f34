"""What real programs sent is cut rightly, however it arrives.

The reference is `examples/recorder/cutters.py`, which works on complete captures, naively, and shares no
code with framestream.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from framestream import END, FRAME_END, NEED_DATA, FrameDecoder, iter_frames
from framestream.registry.lookup import get_framer

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import record_captures  # noqa: E402 - it lives beside the captures, in no package
from recorder.recipe import RECIPES  # noqa: E402

INDEX = json.loads((EXAMPLES / "captures" / "index.json").read_text())
CUTS = [(entry["name"], cut["spec"], cut["frames"]) for entry in INDEX for cut in entry["cuts"]]


def capture(name: str) -> bytes:
    return (EXAMPLES / "captures" / f"{name}.bin").read_bytes()


def frames_of(name: str, spec: str) -> list[Any]:
    return list(iter_frames(capture(name), get_framer(spec)))


def reference_frames(name: str, spec: str) -> list[bytes]:
    """Return the bytes of each frame, its header and its delimiter included."""
    data = capture(name)
    ends = RECIPES[name].cuts[spec](data)
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def random_pieces(data: bytes, seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    at = 0
    while at < len(data):
        size = dice.choice((1, 2, 3, 50, 1000, 20000))
        yield data[at : at + size]
        at += size


def ends_and_frames(chunks: list[bytes], spec: str) -> tuple[list[int], list[Any]]:
    """Read frame by frame as chunks arrive; return where each frame ended, and the frames."""
    decoder, condition = FrameDecoder(), get_framer(spec)
    ends, frames = [], []
    waiting = iter(chunks)
    while (frame := decoder.next_frame(condition)) is not END:
        if frame is not NEED_DATA:
            ends.append(decoder.offset)
            frames.append(frame)
        elif chunk := next(waiting, b""):
            decoder.receive_data(chunk)
        else:
            decoder.receive_eof()
    assert decoder.leftover == b""
    return ends, frames


def test_the_index_lists_every_capture_and_every_recipe() -> None:
    files = {path.stem for path in (EXAMPLES / "captures").glob("*.bin")}
    assert {entry["name"] for entry in INDEX} == files == set(RECIPES)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["name"])
def test_an_index_entry_describes_its_capture(entry: dict[str, Any]) -> None:
    fresh = record_captures.describe(RECIPES[entry["name"]], capture(entry["name"]))
    assert entry == fresh | {"version": entry["version"]}


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_a_capture_has_the_frames_the_index_says(name: str, spec: str, count: int) -> None:
    assert len(frames_of(name, spec)) == count


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_frames_end_where_the_reference_says_for_every_chunking(name: str, spec: str, count: int) -> None:
    data = capture(name)
    expected = RECIPES[name].cuts[spec](data)
    frames = frames_of(name, spec)
    for chunks in [[data], pieces(data, 1), pieces(data, 7), pieces(data, 1000)]:
        assert ends_and_frames(chunks, spec) == (expected, frames)


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_frames_in_batches_are_the_same_for_random_chunkings(name: str, spec: str, count: int) -> None:
    frames = frames_of(name, spec)
    for seed in range(20):
        assert list(iter_frames(random_pieces(capture(name), seed), get_framer(spec))) == frames


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_a_cut_in_two_anywhere_changes_nothing(name: str, spec: str, count: int) -> None:
    data = capture(name)
    frames = frames_of(name, spec)
    # Every place in the first 64 bytes, then a spread of them: the whole range would take minutes.
    for at in [*range(1, 64), *range(64, len(data), max(1, len(data) // 50))]:
        assert list(iter_frames([data[:at], data[at:]], get_framer(spec))) == frames, f"cut at {at}"


@pytest.mark.parametrize(("name", "spec", "count"), CUTS)
def test_frames_in_parts_are_the_same_bytes(name: str, spec: str, count: int) -> None:
    """Join the parts of each frame: the payloads have the sizes of whole frames read without decoding."""
    decoder, condition = FrameDecoder(), get_framer(spec)
    joined, parts = [], []
    waiting = iter(pieces(capture(name), 11))
    while (part := decoder.next_part(condition)) is not END:
        if part is FRAME_END:
            joined.append(b"".join(parts))
            parts.clear()
        elif part is not NEED_DATA:
            parts.append(part)
        elif chunk := next(waiting, b""):
            decoder.receive_data(chunk)
        else:
            decoder.receive_eof()
    assert [condition.decode(payload) for payload in joined] == frames_of(name, spec)


PREFIXES = [cut for cut in CUTS if cut[1].startswith("length-prefix")]


@pytest.mark.parametrize(("name", "spec", "count"), PREFIXES)
def test_payloads_are_what_follows_the_header(name: str, spec: str, count: int) -> None:
    for payload, frame in zip(frames_of(name, spec), reference_frames(name, spec), strict=True):
        assert frame.endswith(payload)
        assert len(frame) - len(payload) <= 5


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("erlang-packet-1", "length-prefix:size=1"),
        ("erlang-packet-4", "length-prefix"),
        ("bind9-dns", "length-prefix:size=2"),
        ("unbound-dnstap", "length-prefix:size=4"),
        ("node-exporter-protobuf", "length-prefix:format=varint"),
        ("rsyslog-octet-counted", 'length-prefix:format=decimal,terminator=" "'),
        ("redis-replies", r'delimiter:"\r\n"'),
        ("git-paths", r'delimiter:"\0"'),
        ("tar-blocks", "fixed-length:512"),
        ("nginx-until-close", "until-close"),
        ("jq-json-lines", "line"),
    ],
)
def test_encoding_the_frames_gives_the_programs_own_bytes(name: str, spec: str) -> None:
    framer: Any = get_framer(spec)
    encoded = [framer.encode(frame) for frame in frames_of(name, spec)]
    assert b"".join(e if isinstance(e, bytes) else b"".join(e) for e in encoded) == capture(name)


def test_lines_of_redis_are_its_replies() -> None:
    replies = frames_of("redis-replies", "line")
    assert replies[:7] == ["+PONG", "+OK", "$13", "hello, stream", "$-1", ":1", ":42"]
    assert "-ERR value is not an integer or out of range" in replies
    assert replies[-1] == "+OK"


def test_monitored_commands_are_the_24_that_ran() -> None:
    lines = frames_of("redis-monitor", "line")
    assert lines[0] == "+OK"
    assert [f'"SET" "key:{n % 5}" "value-{n}"' for n in range(24)] == [
        line.partition("] ")[2] for line in lines[1:]
    ]


def test_memcached_settings_are_there() -> None:
    lines = frames_of("memcached-text", "line")
    assert lines[:3] == ["STORED", "STORED", "VALUE fruit 0 5"]
    assert "STAT maxbytes 67108864" in lines
    assert "CLIENT_ERROR cannot increment or decrement non-numeric value" in lines


def test_neovim_answers_every_request_but_the_last() -> None:
    messages = frames_of("neovim-rpc", "msgpack")
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(capture("neovim-rpc"))
    assert messages == list(unpacker)
    assert [message[1] for message in messages if message[0] == 1] == list(range(11))
    answers = {message[1]: message[3] for message in messages if message[0] == 1}
    assert answers[0][1]["version"]["api_level"] == 9
    assert answers[5] == {"pi": 3.14159, "minus": -70000, "list": list(range(300)), "none": None}
    assert {"nvim_buf_lines_event", "redraw"} <= {message[1] for message in messages if message[0] == 2}


def test_the_zone_transfer_begins_and_ends_with_the_start_of_authority() -> None:
    messages = frames_of("bind9-dns", "length-prefix:size=2")
    identities = [int.from_bytes(message[:2], "big") for message in messages]
    assert identities == [1, 2, 3, 4] + [9] * 64
    no_such_name = 3
    assert messages[3][3] & 0x0F == no_such_name
    assert len(messages[2]) > 20 * 245
    transfer = messages[4:]
    assert b"hostmaster" in transfer[0]
    assert b"hostmaster" in transfer[-1]
    assert sum(b"hostmaster" in message for message in transfer) == 2


def test_dnstap_frames_stand_between_start_and_stop() -> None:
    frames = frames_of("unbound-dnstap", "length-prefix:size=4")
    assert [n for n, frame in enumerate(frames) if not frame] == [0, 2, 44]
    ready, start, stop = (frames[n][:4] for n in (1, 3, 45))
    assert (ready, start, stop) == (b"\0\0\0\4", b"\0\0\0\2", b"\0\0\0\3")
    assert all(b"ns1.example" in event for event in frames[4:44])


def test_heads_of_nginx_are_the_statuses_asked_for() -> None:
    heads = frames_of("nginx-heads", r'delimiter:"\r\n\r\n"')
    assert [head.split()[1] for head in heads] == [b"200", b"200", b"206", b"301", b"304", b"404", b"412"]


def test_the_body_is_the_poem() -> None:
    (body,) = frames_of("nginx-until-close", "until-close")
    assert body == "".join(f"line {n}: {'la ' * (n % 9)}\n" for n in range(400)).encode()


def test_metrics_begin_with_their_names() -> None:
    families = frames_of("node-exporter-protobuf", "length-prefix:format=varint")
    names = [family[2 : 2 + family[1]].decode() for family in families]
    assert names == sorted(names)
    assert "go_goroutines" in names


def test_mqtt_packets_carry_the_sizes_published() -> None:
    packets = reference_frames("mosquitto-mqtt", "length-prefix:format=varint,offset=1")
    payloads = frames_of("mosquitto-mqtt", "length-prefix:format=varint,offset=1")
    kinds = [packet[0] >> 4 for packet in packets]
    connack, publish, puback, suback, pingresp = 2, 3, 4, 9, 13
    assert kinds[:2] == [connack, suback]
    assert [kinds.count(kind) for kind in (publish, puback, pingresp)] == [30, 30, 30]
    sizes = sorted(
        len(body) - 2 - 9 - 2 for kind, body in zip(kinds, payloads, strict=True) if kind == publish
    )
    assert sizes == sorted([0, 1, 125, 126, 127, 128, 1000, 16382, 20000, *range(7, 28)])


def test_postgresql_sends_41_rows_and_is_ready_7_times() -> None:
    messages = reference_frames("postgresql-backend", "length-prefix:size=4,offset=1,adjust=-4")
    kinds = [message[:1] for message in messages]
    assert kinds.count(b"D") == 41
    assert kinds.count(b"Z") == 7
    assert b"division by zero" in messages[kinds.index(b"E")]
    rows = [
        m for m in frames_of("postgresql-backend", "length-prefix:size=4,offset=1,adjust=-4") if b"apple" in m
    ]
    assert [row.count(b"apple") for row in rows] == list(range(1, 41))


def test_mariadb_numbers_its_packets() -> None:
    payloads = frames_of("mariadb-packets", "length-prefix:size=3,byteorder=little,adjust=1")
    assert [payload[0] for payload in payloads[2:58]] == list(range(1, 57))
    assert b"no_such_column" in payloads[-1]


def test_syslog_messages_are_in_order() -> None:
    messages = frames_of("rsyslog-octet-counted", 'length-prefix:format=decimal,terminator=" "')
    assert [f" ID{n} - order {n} shipped" in m.decode() for n, m in enumerate(messages)] == [True] * 24


def test_erlang_sends_every_size_a_byte_can_say() -> None:
    assert [bytes([n]) * n for n in range(256)] == frames_of("erlang-packet-1", "length-prefix:size=1")


def test_json_lines_load() -> None:
    loaded = [json.loads(line) for line in frames_of("jq-json-lines", "line")]
    assert loaded == [{"n": n, "half": n / 2, "stars": "*" * n or None} for n in range(100)]


def test_git_paths_keep_their_newlines() -> None:
    paths = [path.decode() for path in frames_of("git-paths", r'delimiter:"\0"')]
    assert {"two\nlines", "tab\there", "gr\u00fc\u00dfe", "-rf"} < set(paths)
    assert paths == sorted(paths)


def test_tar_blocks_end_with_two_of_zeros() -> None:
    blocks = frames_of("tar-blocks", "fixed-length:512")
    assert blocks[0].startswith(b"files/\0")
    assert blocks[-2:] == [bytes(512)] * 2


def test_tls_records_have_the_types_of_a_handshake_then_data() -> None:
    records = reference_frames("openssl-tls-records", "length-prefix:size=2,offset=3")
    handshake, change_cipher, data = 22, 20, 23
    assert [record[0] for record in records[:2]] == [handshake, change_cipher]
    assert {record[0] for record in records[2:]} == {data}
    assert all(record[1:3] == b"\3\3" for record in records)
