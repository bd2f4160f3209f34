"""RESP: every type of both versions, what the specification forbids, hostile sizes, and the kit."""

from __future__ import annotations

import math
from typing import Any

import pytest

from framestream import (
    NEED_DATA,
    EncodeError,
    FrameDecoder,
    FramingError,
    iter_frames,
)
from framestream.testing import check_framer
from framestream_resp import Attributed, ErrorReply, Pairs, Push, Resp, Verbatim, command

RESP2: dict[bytes, list[Any]] = {
    b"+OK\r\n+\r\n": ["OK", ""],
    b"-ERR unknown command 'x'\r\n": [ErrorReply("ERR unknown command 'x'")],
    b":0\r\n:-1\r\n:1000\r\n:+7\r\n:9223372036854775807\r\n": [0, -1, 1000, 7, 2**63 - 1],
    b"$5\r\nhello\r\n$0\r\n\r\n$-1\r\n$4\r\n\r\n\r\n\r\n": [b"hello", b"", None, b"\r\n\r\n"],
    b"*0\r\n*-1\r\n*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n": [[], None, [b"hello", b"world"]],
    b"*3\r\n*2\r\n:1\r\n*0\r\n$-1\r\n*1\r\n+a\r\n": [[[1, []], None, ["a"]]],
    b"*5\r\n:1\r\n:2\r\n:3\r\n:4\r\n$5\r\nhello\r\n": [[1, 2, 3, 4, b"hello"]],
}
RESP3: dict[bytes, list[Any]] = {
    b"_\r\n#t\r\n#f\r\n": [None, True, False],
    b",1.23\r\n,10\r\n,-1e-05\r\n,inf\r\n,-inf\r\n,nan\r\n": [1.23, 10.0, -1e-05, math.inf, -math.inf, math.nan],
    b"(3492890328409238509324850943850943825024385\r\n": [3492890328409238509324850943850943825024385],
    b"!22\r\nSYNTAX invalid\r\nsyntax\r\n": [ErrorReply("SYNTAX invalid\r\nsyntax")],
    b"=15\r\ntxt:Some string\r\n": [Verbatim(b"Some string")],
    b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n%0\r\n": [{"first": 1, "second": 2}, {}],
    b"~5\r\n+orange\r\n+apple\r\n#t\r\n:100\r\n:999\r\n~0\r\n": [{"orange", "apple", True, 100, 999}, set()],
    b">3\r\n+message\r\n+somechannel\r\n+this\r\n+OK\r\n": [Push(["message", "somechannel", "this"]), "OK"],
    b"|1\r\n+ttl\r\n:3600\r\n+OK\r\n": [Attributed("OK", {"ttl": 3600})],
    b"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n": [[1, 2, Attributed(3, {"ttl": 3600})]],
    b"$?\r\n;4\r\nHell\r\n;6\r\no worl\r\n;1\r\nd\r\n;0\r\n": [b"Hello world"],
    b"*?\r\n:1\r\n*?\r\n.\r\n~?\r\n:2\r\n.\r\n.\r\n": [[1, [], {2}]],
    b"%?\r\n+a\r\n:1\r\n+b\r\n%?\r\n.\r\n.\r\n": [{"a": 1, "b": {}}],
    b"%1\r\n*2\r\n:1\r\n~1\r\n:2\r\n+x\r\n": [{(1, frozenset({2})): "x"}],
    b"~1\r\n*1\r\n*1\r\n:1\r\n": [{((1,),)}],
    b"~2\r\n%1\r\n+a\r\n:1\r\n:2\r\n": [[{"a": 1}, 2]],
    b"*1\r\n$?\r\n;0\r\n": [[b""]],
}
MALFORMED = {
    b"PING\r\n": "b'P' begins no value",
    b"\x16\x03\x01": "begins no value",
    b"*1\r\n\0": "begins no value",
    b"$05\r\nhello\r\n": "b'05' is not a size for the type '$'",
    b"$+5\r\nhello\r\n": "is not a size",
    b"$ 5\r\nhello\r\n": "is not a size",
    b"$-2\r\n": "is not a size",
    b"$\r\n\r\n": "is not a size",
    b"*-3\r\n": "is not a size",
    b"*1_0\r\n": "is not a size",
    b"%-1\r\n": "is not a size",
    b"!-1\r\n": "is not a size",
    b"*12345678901234567890\r\n": "no size for the type '*' in 22 bytes",
    b"*1234567890123456789012345": "no size for the type '*' in 22 bytes",
    b"$999999999999\r\n": "frame of 999999999999 bytes exceeds the limit",
    b"$5\nhello\r\n": "LF without CR",
    b"+OK\n": "LF without CR",
    b"*1\r\n+O\nK\r\n": "LF without CR",
    b":\n\r\n": "LF without CR",
    b"$5\r\nhello!\r\n": "frame ends with b'!\\r' where b'\\r\\n' is expected",
    b"*1\r\n$5\r\nhello!\r\n": "b'!\\r' where CR LF is expected",
    b"*2\r\n:1\r\n>0\r\n": "a push inside a reply",
    b".\r\n": "an end where no aggregate can end",
    b"*1\r\n.\r\n": "an end where no aggregate can end",
    b"%?\r\n+a\r\n.\r\n": "an end where no aggregate can end",
    b";4\r\nHell\r\n": "where a part of a string can",
    b"$?\r\n+a\r\n": "b'+' where a part of a string must",
    b"$?\r\n;-1\r\n": "is not a size",
    b"*?\r\n.x\r\n": "is not a size",
    b"=?\r\n": "is not a size",
    b":12a\r\n": "b'12a' is not an integer of 64 bits",
    b":9223372036854775808\r\n": "is not an integer of 64 bits",
    b":1_0\r\n": "is not an integer",
    b":\r\n": "is not an integer",
    b"#x\r\n": "is not a boolean",
    b",1,5\r\n": "is not a double",
    b",1_0\r\n": "is not a double",
    b", 1\r\n": "is not a double",
    b",\xd9\xa3\r\n": "is not a double",
    b",.\r\n": "is not a double",
    b"_x\r\n": "after a null",
    b"(" + b"9" * 4097 + b"\r\n": "is not a number of at most 4096 digits",
    b"=3\r\ntxt\r\n": "is not a format of a verbatim string",
    b"+a\rb\r\n": "holds a CR or an LF",
}


def nested(depth: int) -> bytes:
    return b"*1\r\n" * depth + b":1\r\n"


def test_conformance_in_version_3() -> None:
    check_framer(
        Resp(),
        examples={**RESP2, **RESP3, b"".join(RESP2): [frame for frames in RESP2.values() for frame in frames]},
        malformed=MALFORMED,
        incomplete=[b"$", b"$5\r", b"$5\r\nhell", b"$5\r\nhello\r", b"*2\r\n:1\r\n", b"%1\r\n+a\r\n", b"$?\r\n;4\r\n"],
        slow_frame=lambda size: b"*%d\r\n" % (size // 9) + b"$3\r\nabc\r\n" * (size // 9),
    )


@pytest.mark.parametrize("kind", ["+", "$", "*"])
def test_every_kind_of_long_reply_costs_linear_time(kind: str) -> None:
    def slow(size: int) -> bytes:
        text = b"x" * size
        return {"+": b"+%b\r\n" % text, "$": b"$%d\r\n%b\r\n" % (size, text)}.get(
            kind, b"*2\r\n$%d\r\n%b\r\n$?\r\n;1\r\nx\r\n;0\r\n" % (size, text)
        )

    check_framer(Resp(), examples={slow(20): list(iter_frames(slow(20), Resp()))}, slow_frame=slow)


def test_conformance_in_version_2() -> None:
    check_framer(
        Resp(2),
        examples=RESP2,
        malformed={**dict.fromkeys(RESP3, "RESP2"), b"*1\r\n*?\r\n.\r\n": "a streamed value in RESP2"},
        slow_frame=lambda size: b"*%d\r\n" % (size // 4) + b":1\r\n" * (size // 4),
    )


def test_conformance_when_nesting_is_limited() -> None:
    check_framer(
        Resp(max_depth=2),
        examples=[(nested(2), [[[1]]]), (b"*1\r\n*1\r\n*0\r\n", [[[[]]]])],
        malformed={
            nested(3): "reply nested more than 2 deep",
            b"*1\r\n*1\r\n*?\r\n.\r\n": "more than 2 deep",
            b"*1\r\n*1\r\n$?\r\n;0\r\n": "more than 2 deep",
            b"*1\r\n*1\r\n|0\r\n:1\r\n": "more than 2 deep",
        },
    )


def test_a_depth_bomb_is_refused_where_it_becomes_too_deep() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(nested(100_000))
    with pytest.raises(FramingError, match="nested more than 64 deep") as caught:
        decoder.next_frame(Resp())
    assert caught.value.offset == 64 * len(b"*1\r\n")


def test_the_deepest_nesting_allowed_is_read_and_written() -> None:
    framer = Resp(max_depth=128)
    [value] = iter_frames(nested(128), framer)
    assert framer.encode(value) == nested(128)
    with pytest.raises(EncodeError, match="nested more than 128 deep"):
        framer.encode([value])


def keyed(kind: bytes, keys: list[bytes]) -> bytes:
    """Return a map or set with these keys."""
    return b"%b%d\r\n" % (kind, len(keys)) + b"".join(key + b"_\r\n" * (kind == b"%") for key in keys)


# All of the first have one hash; the second walk one probe sequence of a dict; floats hash as integers do.
HOSTILE = [
    [b"(%d\r\n" % (number * ((1 << 61) - 1)) for number in range(16, 5016)],
    [b":%d\r\n" % ((number << 16) + 7) for number in range(5000)],
    [b",%d\r\n" % ((number << 16) + 7) for number in range(5000)],
    [b"*1\r\n:%d\r\n" % number for number in range(5000)],
]


@pytest.mark.parametrize("keys", HOSTILE)
def test_keys_that_may_be_chosen_to_collide_are_never_hashed_in_number(keys: list[bytes]) -> None:
    [pairs, members] = iter_frames(keyed(b"%", keys) + keyed(b"~", keys), Resp())
    assert (type(pairs), len(pairs)) == (Pairs, 5000)
    assert (type(members), len(members)) == (list, 5000)
    assert [key for key, _ in pairs] == members


def test_text_as_keys_is_not_limited_and_few_numbers_are_no_danger() -> None:
    for value in ({f"key {n}" for n in range(3000)}, {b"%d" % n: n / 7 for n in range(3000)}, {1: 2, 1.5: 3}):
        assert list(iter_frames(Resp().encode(value), Resp())) == [value]


@pytest.mark.parametrize(("wire", "value"), [
    (b"%3\r\n:1\r\n+a\r\n#t\r\n+b\r\n,1.0\r\n+c\r\n", Pairs([(1, "a"), (True, "b"), (1.0, "c")])),
    (b"%2\r\n+a\r\n:1\r\n+a\r\n:2\r\n", Pairs([("a", 1), ("a", 2)])),
    (b"%2\r\n*1\r\n:0\r\n_\r\n*1\r\n#f\r\n_\r\n", Pairs([([0], None), ([False], None)])),
    (b"%1\r\n%0\r\n:1\r\n", Pairs([({}, 1)])),
])  # fmt: skip
def test_a_map_that_no_dict_holds_loses_nothing_and_is_written_back(wire: bytes, value: Pairs) -> None:
    [found] = iter_frames(wire, Resp())
    assert repr(found) == repr(value)  # == takes 1 for True, as dict does
    assert Resp().encode(found) == wire


def test_members_that_only_compare_equal_are_kept_apart() -> None:
    [members] = iter_frames(b"~3\r\n:1\r\n#t\r\n,1\r\n", Resp())
    assert repr(members) == "[1, True, 1.0]"


@pytest.mark.parametrize(("text", "value"), [
    ("-nan", math.nan),
    ("NaN", math.nan),
    ("-NaN", math.nan),
    ("Inf", math.inf),
    ("-Infinity", -math.inf),
    (".5", 0.5),
    ("-5.", -5.0),
    ("+1E3", 1000.0),
])  # fmt: skip
def test_doubles_are_read_as_servers_print_them(text: str, value: float) -> None:
    [found] = iter_frames(b",%b\r\n" % text.encode(), Resp())
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_a_large_array_can_be_discarded_in_constant_memory() -> None:
    decoder = FrameDecoder(max_frame_size=1000, on_oversize="discard")
    decoder.receive_data(b"*2\r\n:1\r\n$10000000\r\n")
    chunk = b"x" * 10_000
    for _ in range(1000):
        decoder.receive_data(chunk)
        assert decoder.next_frame(Resp()) is NEED_DATA
    decoder.receive_data(b"\r\n:7\r\n")
    assert decoder.next_frame(Resp()) == 7
    assert decoder.stats.high_water < 12_000


def test_what_was_passed_on_is_not_taken_for_the_end_of_a_line() -> None:
    decoder = FrameDecoder()
    decoder.receive_data(b":")
    assert decoder.next_part(Resp()) == b":"
    decoder.receive_data(b"\n\r")
    with pytest.raises(FramingError, match="LF without CR"):
        decoder.next_part(Resp())


def test_a_payload_is_one_reply() -> None:
    with pytest.raises(ValueError, match="4 bytes after a reply"):
        Resp().decode(b":1\r\n:2\r\n")


@pytest.mark.parametrize(("framer", "value", "complaint"), [
    (Resp(2), 1.5, "RESP2 has no form for float"),
    (Resp(2), {}, "RESP2 has no form for dict"),
    (Resp(2), 2**63, "integer of 64 bits, limit 64"),
    (Resp(2), ErrorReply("a\nb"), "no CR or LF"),
    (Resp(), "a\r\nb", "a simple string holds no CR or LF; write bytes"),
    (Resp(), "\ud800", "text cannot be encoded"),
    (Resp(), object(), "RESP has no form for object"),
    (Resp(), [Push()], "a push inside a reply"),
    (Resp(), 1 << 13999, "integer of 14000 bits"),
    (Resp(), Verbatim(b"", "text"), "format 'text' is not three characters"),
    (Resp(), Verbatim(b"", "\u20ac$$"), "is not three characters"),
    (Resp(max_size=3), b"long", "value of 4 bytes exceeds the limit 3"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused(framer: Resp, value: Any, complaint: str) -> None:
    with pytest.raises(EncodeError, match=complaint):
        framer.encode(value)


def test_none_is_written_as_the_version_has_it() -> None:
    assert [Resp(version).encode([None]) for version in (2, 3)] == [b"*1\r\n$-1\r\n", b"*1\r\n_\r\n"]


def test_a_command_is_an_array_of_bulk_strings() -> None:
    assert Resp().encode(command("SET", b"k", 1)) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n"


def test_an_error_has_a_code_and_a_push_is_shown_as_one() -> None:
    assert ErrorReply("WRONGTYPE Operation against").code == "WRONGTYPE"
    assert repr(Push([1])) == "Push([1])"


@pytest.mark.parametrize("options", [{"version": 1}, {"max_depth": 0}, {"max_depth": 129}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="it must be"):
        Resp(**options)
