"""Every built-in framer with the material that `check_framer` takes: one table for several tests."""

from __future__ import annotations

import json  # noqa: F401 - a table names it
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack
from sample_conditions import Spaced  # noqa: F401 - a table names it

from framestream import framers
from framestream.errors import FramingError, PayloadError
from framestream.framer import PADDING, Decode, NeedMore, ReadCondition, Window
from framestream.framers.amounts import Exactly, FixedLength
from framestream.framers.choice import FirstOf, When
from framestream.framers.combined import HeaderThenBody, Nested
from framestream.framers.delimiter import Delimiter, Line
from framestream.framers.generator import Body, Fields, GeneratorFramer
from framestream.framers.length_prefix import LengthPrefix
from framestream.framers.msgpack import Msgpack
from framestream.framers.regex import Regex

NAMES = {name: getattr(framers, name) for name in framers.__all__}
"""Every built-in framer by the name of its class."""


def value(text: str) -> Any:
    """Return what a text in a table stands for."""
    return eval(text.strip(), NAMES | globals())


class Sample(NamedTuple):
    """A framer, and what to try it on: the keyword arguments of `check_framer`."""

    framer: ReadCondition[Any]
    material: dict[str, Any]


def entries(table: str) -> list[str]:
    """Return the entries of a table: lines but comments, each with those below it that are indented."""
    lines = re.sub(r"^#.*\n", "", table.strip(), flags=re.MULTILINE)
    return re.split(r"\n(?=\S)", lines)


def read_sample(entry: str) -> tuple[str, Sample]:
    """Return the name and the sample of an entry of the table below."""
    title, *lines = re.split(r"\n    (?! )", entry)
    name, _, framer = title.partition(": ")
    material: dict[str, Any] = {"examples": {}}
    for line in lines:
        data, arrow, frames = line.partition("->")
        kind, _, values = line.partition(": ")
        if kind == "slow":
            material["slow_frame"] = value(f"lambda size: {values}")
        elif kind in ("malformed", "incomplete"):
            material[kind] = value(f"[{values}]")
        elif arrow:
            material["examples"][value(data)] = value(f"[{frames}]")
        else:
            material["chunk_dependent"] = True
    return name, Sample(value(framer), material)


PORT = struct.Struct("!H")


@dataclass(frozen=True)
class Address(GeneratorFramer[tuple[str, int]]):
    """A host and a port, as SOCKS 5 writes them (RFC 1928, section 5)."""

    def fields(self) -> Fields[tuple[str, int]]:
        [kind] = yield 1
        if kind == 1:
            host = ".".join(map(str, (yield 4)))
        elif kind == 3:
            [size] = yield 1
            host = (yield size).decode("ascii")
        else:
            raise FramingError(f"address of kind {kind}")
        [port] = yield PORT
        return host, port


@dataclass(frozen=True)
class Packet(GeneratorFramer[tuple[int, bytes]]):
    """A MySQL packet: three bytes of size, a number, the body."""

    def fields(self) -> Fields[tuple[int, bytes]]:
        header = yield 4
        return Body(int.from_bytes(header[:3], "little"), lambda body: (header[3], body))


@dataclass(frozen=True)
class Many(GeneratorFramer[list[int]]):
    """As many numbers as the first two bytes say."""

    width = 1

    def fields(self) -> Fields[list[int]]:
        [count] = yield PORT
        numbers = []
        for _ in range(count):
            field = yield self.width
            numbers.append(int.from_bytes(field, "big"))
        return numbers


class ManyWide(Many):
    """The same of wide numbers: each field that was read is kept, and no field is less than an object."""

    width = 8


class Headed(GeneratorFramer[Any]):
    """A command, then what a condition reads."""

    def __init__(self, condition: ReadCondition[Any], make: Callable[[Any], Any] = lambda body: body) -> None:
        self.condition = condition
        self.make = make

    def fields(self) -> Fields[Any]:
        command = yield b" "
        return Body(self.condition, lambda body: (command, self.make(body)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headed) and other.condition == self.condition

    def __hash__(self) -> int:
        return hash(self.condition)


class Prefixed(GeneratorFramer[bytes]):
    def fields(self) -> Fields[bytes]:
        return Body(int((yield b":")), bytes, trailer=b",")


def of(generator: Callable[..., Any], *arguments: Any) -> GeneratorFramer[Any]:
    """A framer whose fields this generator reads."""

    class Made(GeneratorFramer[Any]):
        def fields(self) -> Any:
            return generator(*arguments)

    return Made()


def every_kind() -> Any:
    number = yield 2
    word = yield b", "
    numbers = yield struct.Struct("<HB")
    line = yield Line()
    packed = yield Msgpack()
    prefixed = yield LengthPrefix(1)
    nothing = yield 0
    return number, word, numbers, line, packed, prefixed, nothing


def small_numbers() -> Any:
    yield 2
    number = int((yield b";"))
    if number > 9:
        raise FramingError("too many")
    if number > 5:
        raise FramingError("too many by far", position=0)
    if number == 5:
        raise PayloadError("five")
    return number


def negative(kind: str) -> Any:
    [number] = yield struct.Struct("b")
    if kind == "field":
        yield number
    return Body(number, bytes)


def pings() -> Any:
    line = yield b"\n"
    return PADDING if line == b"ping" else line


def many(count: int, width: int = 1) -> bytes:
    return PORT.pack(count) + b"".join((i % 251).to_bytes(width, "big") for i in range(count))


def body_of(line: str) -> Exactly:
    return Exactly(int(line))


def packed(*objects: Any) -> bytes:
    return b"".join(map(msgpack.packb, objects))


LINES = b"one\r\ntwo\nthree\r\n\r\n\nfour\rfive\n"

SAMPLED = r"""
available: Available()
    b"abc" -> b"abc"
    depends on chunks
available-little: Available(4)
    b"abcdef" -> b"abcd", b"ef"
    depends on chunks
exactly: Exactly(3)
    b"" ->
    b"abc" -> b"abc"
    b"abcdef" -> b"abc", b"def"
    incomplete: b"a", b"abcd"
exactly-nothing: Exactly(0)
    b"" -> b""
fixed-length: FixedLength(4)
    b"abcd" -> b"abcd"
    b"\r\n\0\0efgh" -> b"\r\n\0\0", b"efgh"
    incomplete: b"abc"
delimiter: Delimiter(b"\0")
    b"one\0\0three\0" -> b"one", b"", b"three"
    incomplete: b"o", b"one\0two"
    slow: b"x" * size + b"\0"
delimiter-long: Delimiter(b"--END--")
    b"a--END----END---END----END--" -> b"a", b"", b"-END--"
    incomplete: b"--END-"
    slow: b"--EN" * (size // 4) + b"--END--"
delimiter-pair: Delimiter((b"\r\n", b"\n"))
    LINES -> b"one", b"two", b"three", b"", b"", b"four\rfive"
    incomplete: b"\r", b"a\nb\r"
    slow: b"\r" * size + b"\r\n"
delimiter-several: Delimiter((b";", b"\r\n", b"END"))
    b"a;b\r\ncEND;EN;\r;" -> b"a", b"b", b"c", b"", b"EN", b"\r"
    incomplete: b"EN", b"\r"
    slow: b"EN\r" * (size // 3) + b"END"
delimiter-last: Delimiter((b"\r\n", b";"), last=True)
    b"a;b\r" -> b"a", b"b\r"
    b"a;b\r\n" -> b"a", b"b"
    b";" -> b""
delimiter-max: Delimiter(b"\n", max_size=5)
    b"12345\n1234\n" -> b"12345", b"1234"
    malformed: (b"123456\n", "exceeds the limit of 5"), (b"a\n1234567", "exceeds")
    incomplete: b"12345"
delimiter-kept-last: Delimiter((b"abc", b"bd", b"bbd"), keep=True, last=True)
    b"ababdabcabbdab" -> b"ababd", b"abc", b"abbd", b"ab"
line: Line()
    "é\r\nb\n\nc".encode() -> "é", "b", "", "c"
    LINES -> "one", "two", "three", "", "", "four\rfive"
    b"\r" -> "\r"
    malformed: (b"ok\n\xff\n", "utf-8"), (b"\xc3\n\xa9\n", "utf-8")
    slow: b"\r" * size + b"\n"
line-crlf: Line(newline="crlf", last=False)
    b"a\nb\r\n\r\n\r\r\n" -> "a\nb", "", "\r"
    incomplete: b"a\r", b"\r\nb"
line-bytes: Line(None, keep=True)
    b"a\n\xff\r\nb" -> b"a\n", b"\xff\r\n", b"b"
line-other: Line("shift-jis", errors="replace", newline="lf")
    "日本\nx".encode("shift-jis") -> "日本", "x"
line-escapes: Line("ascii", errors="surrogateescape")
    b"\xe9\r\nb\n" -> "\udce9", "b"
length-prefix: LengthPrefix()
    b"\0\0\0\3abc\0\0\0\0\0\0\0\1x" -> b"abc", b"", b"x"
    malformed: (b"GET / HTTP/1.1\r\n\r\n", "HTTP"), (b"\xff\xff\xff\xffabc", "exceeds")
    incomplete: b"\0", b"\0\0\0\2a"
    slow: struct.pack(">I", size) + b"\0" * size
length-prefix-3: LengthPrefix(3, "little")
    b"\3\0\0xxx\0\0\0" -> b"xxx", b""
    incomplete: b"\1" + bytes(2)
length-prefix-header: LengthPrefix(2, offset=2, adjust=-1, strip=0)
    b"hi\0\4abc" + b"ho\0\1" -> b"hi\0\4abc", b"ho\0\1"
    malformed: b"hi\0\0abc"
    incomplete: b"hi\0", b"hi\0\5abc"
length-prefix-includes-header: LengthPrefix(2, includes_header=True)
    b"\0\5abc\0\2" -> b"abc", b""
    malformed: b"\0\1", b"\0\5abc\0\0"
    incomplete: b"\0\5ab"
length-prefix-strips-more: LengthPrefix(1, strip=3, adjust=2)
    b"\1abxyz"[:4] + b"\0ab" -> b"x", b""
    incomplete: b"\1abc"[:3]
varint-kept: LengthPrefix(4, format="varint", canonical=True, offset=1, strip=0)
    b"\x10\3abc\x20\0" -> b"\x10\3abc", b"\x20\0"
    malformed: (b"\x10\x80\0", "longer than necessary"), (b"\x10\x80\x80\x80\x80", "more than 4 bytes")
    incomplete: b"\x10", b"\x10\x80"
hex-counts-itself: LengthPrefix(4, format="hex", includes_header=True)
    b"0009hello0004" -> b"hello", b""
    malformed: (b"0003", "less than its header of 4"), (b"00g", "b'g' where a digit is expected")
    incomplete: b"000", b"0005"
varint: LengthPrefix(format="varint")
    b"\3abc\0\x80\1" + b"x" * 128 -> b"abc", b"", b"x" * 128
    b"\x81\0y" -> b"y"
    malformed: b"\xff" * 10, b"\x80" * 11
    incomplete: b"\x80", b"\2a"
netstring-like: LengthPrefix(format="decimal", terminator=b":")
    b"3:abc0:11:hello world" -> b"abc", b"", b"hello world"
    b"003:abc" -> b"abc"
    malformed: b"x:", b"-1:", b"1" * 21, b" 1:a"
    incomplete: b"1", b"12:a"
    slow: b"%d:" % size + b":" * size
hex-line: LengthPrefix(format="hex", terminator=b"\r\n", canonical=True)
    b"3\r\nabc0\r\n" -> b"abc", b""
    malformed: b"03\r\nabc", b"00\r\n", b"3\n"
    incomplete: b"3\r"
msgpack: Msgpack()
    packed({"a": 1, "b": [1, 2.5, None]}, [], "text", b"\0" * 40, -1)
        -> {"a": 1, "b": [1, 2.5, None]}, [], "text", b"\0" * 40, -1
    packed(float("nan")) -> float("nan")
    malformed: b"\xc1", b"\x93\1\xc1", (b"\xa1\xff", "utf-8"), packed({1: 2})
    incomplete: b"\x92\1", b"\xd9", b"\xdc\xff\xff", packed({"a": "long enough"})[:-1]
    slow: packed([{"k": "v"}] * (size // 5))
msgpack-tuples: Msgpack(raw=True, use_list=False, strict_map_key=False, timestamp=3)
    packed([1, [2]], {1: "x"}) -> (1, (2,)), {1: b"x"}
    malformed: packed({"k": {}})[:1] + b"\x90\x90" + b"\xc1"
    incomplete: b"\x81\1"
    slow: b"\x91" * 500 + packed("x" * size)
regex: Regex(rb"\r?\n\r?\n")
    b"a: 1\r\nb: 2\r\n\r\nc\n\nd\n\r\n" -> b"a: 1\r\nb: 2\r\n\r\n", b"c\n\n", b"d\n\r\n"
    incomplete: b"a\r\n\r", b"\n"
    slow: b"\n\r\r" * (size // 3) + b"\n\n"
regex-counted: Regex(rb"[0-9]{1,3};")
    b"temp=21;hum=4000;;1;" -> b"temp=21;", b"hum=4000;", b";1;"
    incomplete: b"12", b"x;"
    slow: b"1" * size + b";"
regex-overlapping: Regex(rb"x[0-9]{1,3}[^0-9]{1,40};")
    b"ax1a;bx23bbb;;" -> b"ax1a;", b"bx23bbb;"
    incomplete: b"x1;", b"x1ab"
    slow: b"x1" * (size // 2) + b"x1a;"
until-close: UntilClose()
    b"" -> b""
    b"abc\r\n" -> b"abc\r\n"
    slow: b"\n" * size
first-of: FirstOf(When(b"\0", LengthPrefix(2)), Line(last=False))
    b"\0\2hione\n\0\0two\r\n" -> b"hi", "one", b"", "two"
    malformed: (b"\xff\n", "utf-8")
    incomplete: b"\0", b"\0\1", b"one"
    slow: b"x" * size + b"\n"
first-of-undecided: FirstOf(LengthPrefix(format="decimal", terminator=b":"), Regex(rb"\n"), Delimiter(b"\n"))
    b"3:abc12\nx\n" -> b"abc", b"12\n", b"x\n"
    incomplete: b"1", b"x"
    slow: b"x" * size + b"\n"
when: When((b"$", b"*", b"+"), Line(None, last=False))
    b"$one\n*2\r\n+\n" -> b"$one", b"*2", b"+"
    malformed: b"one\n", b"$a\nb"
    incomplete: b"$", b"+\n*"
sequence: Sequence(Line(last=False), LengthPrefix(2))
    b"one\n\0\2hi\n\0\0" -> ("one", b"hi"), ("", b"")
    malformed: (b"\xff\n\0\1a", "utf-8")
    incomplete: b"one\n", b"one\n\0", b"one\n\0\3hi"
    slow: b"x" * size + b"\n\0\0"
sequence-of-one: Sequence(Delimiter(b"--"))
    b"a--b-c--" -> (b"a",), (b"b-c",)
    incomplete: b"a-"
sequence-dependent: Sequence(FixedLength(1), lambda size: Exactly(size[0]), Delimiter((b"\r\n", b"\n")))
    b"\2hirest\r\n\0\n" -> (b"\2", b"hi", b"rest"), (b"\0", b"", b"")
    incomplete: b"\2h", b"\1xrest\r"
    slow: b"\1x" + b"\r" * size + b"\n"
sequence-searched-last: Sequence(LengthPrefix(2), Delimiter(b"\n"))
    b"\0\2hione\n\0\0\n" -> (b"hi", b"one"), (b"", b"")
    incomplete: b"\0", b"\0\2h", b"\0\2hi", b"\0\2hia"
    slow: b"\0\1a" + b"x" * size + b"\n"
sequence-mixed: Sequence(Msgpack(), FirstOf(When(b"\0", LengthPrefix(2)), Delimiter(b"\n")), Msgpack())
    b"\1\0\2hi\x92\1\2\xa1aone\n\xc0" -> (1, b"hi", [1, 2]), ("a", b"one", None)
    slow: b"\1a\n\xdc" + size.to_bytes(2, "big") + b"\1" * size
sequence-to-the-end: Sequence(Delimiter(b"\n"), UntilClose())
    b"a\nxyz" -> (b"a", b"xyz")
    incomplete: b"a"
header-then-body: HeaderThenBody(Line(last=False), body_of)
    b"2\nhi0\n3\na\nb" -> ("2", b"hi"), ("0", b""), ("3", b"a\nb")
    malformed: b"two\nhi"
    incomplete: b"2", b"2\nh"
    slow: b"%d\n" % size + b"\n" * size
mapped: Mapped(Line(last=False), json.loads, json.dumps)
    b'{"a": 1}\n[2]\r\n"x"\n' -> {"a": 1}, [2], "x"
    malformed: b"1\n{\n2\n", (b"\xff\n", "utf-8")
    incomplete: b"1", b"1\n{}"
    slow: b"[" + b"1," * (size // 2) + b"1]\n"
mapped-undecided: Mapped(Sequence(FixedLength(1), Delimiter(b";")), len)
    b"1a;2;" -> 2, 2
    incomplete: b"1", b"2x"
nested: Nested(LengthPrefix(1), Msgpack())
    b"\4\x93\1\2\3\1\xc0" -> [1, 2, 3], None
    malformed: b"\0", b"\1\xc1", b"\2\1\1", b"\1\x91"
    incomplete: b"\1", b"\2\1"
nested-in-lines: Nested(Delimiter(b"\n"), LengthPrefix(format="decimal", terminator=b":"))
    b"3:abc\n0:\n" -> b"abc", b""
    malformed: b"4:abc\n0:\n", b"0:a\n", b"x\n"
    incomplete: b"1:a"
address: Address()
    b"\1\x7f\0\0\1\0\x50" -> ("127.0.0.1", 80)
    b"\3\x09localhost\x1f\x90\3\0\0\1" -> ("localhost", 8080), ("", 1)
    malformed: (b"\2", "address of kind 2"), (b"\3\1\xff\0\0", "ascii")
    incomplete: b"\1", b"\1\x7f", b"\3\5loc", b"\3\1a\0"
    slow: b"\3\xff" + b"x" * 255 + b"\0\1"
packet: Packet()
    b"\2\0\0\1hi\0\0\0\2" -> (1, b"hi"), (2, b"")
    malformed: (b"\xff\xff\xff\0", "exceeds the limit")
    incomplete: b"\2", b"\2\0\0\1h"
    slow: size.to_bytes(3, "little") + b"\1" + b"x" * size
many: Many()
    many(3) + many(0) -> [0, 1, 2], []
    incomplete: b"\0", b"\0\2a"
many-wide: ManyWide()
    many(2, 8) + many(0) -> [0, 1], []
    incomplete: b"\0\1" + bytes(7)
    slow: many(size // 8, 8)
headed: Headed(Delimiter(b"--end"))
    b"put -a--end" -> (b"put", b"-a")
    incomplete: b"pu", b"put -a--e"
headed-address: Headed(Address())
    b"put \3\1a\0\1" -> (b"put", ("a", 1))
    incomplete: b"put \3\1a"
headed-to-the-end: Headed(UntilClose())
    b"put all" -> (b"put", b"all")
    b"put " -> (b"put", b"")
"""

SAMPLES = dict(map(read_sample, entries(SAMPLED)))
"""Name to sample. The name of the framer comes first."""


# What is read, in any chunking ------------------------------------------------------------------

LINE = Delimiter(b"\n")
SMALL = Delimiter(b"\n", max_size=3)
EITHER = Delimiter((b"\r\n", b"\n"))
SIZED = HeaderThenBody(Line(last=False), lambda line: FixedLength(int(line)))
SNIFF = FirstOf(When(b"\x00", LengthPrefix(2)), LINE)
NEST = Nested(LengthPrefix(1), Msgpack())
BLANK_LINE = Regex(rb"\r?\n\r?\n")
VARINT = LengthPrefix(format="varint")
NETSTRING = LengthPrefix(format="decimal", terminator=b":")


@dataclass(frozen=True)
class Netstring(ReadCondition[str]):
    """Tells its extent before the comma that must end it has arrived."""

    final: bool = True

    def find(self, window: Window) -> Any:
        colon = window.data.find(b":", window.start)
        if colon < 0:
            return NeedMore()
        stop = colon + 1 + int(window.data[window.start : colon])
        return colon + 1, stop, stop + 1, Decode(bytes.decode, trailer=b",", final=self.final)


@dataclass(frozen=True)
class Never(ReadCondition[bytes]):
    """Refuses everything, and names no place."""

    def find(self, window: Window) -> Any:
        raise FramingError("never")


def part_of(kind: str, size: int) -> ReadCondition[Any]:
    return Line() if kind == "line" else Exactly(size)


def refuse(line: bytes) -> ReadCondition[Any]:
    raise FramingError(f"refused: {line!r}")


def refuse_type_1(code: int, data: bytes) -> Any:
    if code == 1:
        raise ValueError(f"no extension {code}")
    return code, data


READ = r"""
Line(newline="lf"):  b"a\r\nb\nc\rd\n" -> "a\r", "b", "c\rd"
Line(newline="crlf"):  b"a\r\nb\nc\rd\n" -> "a", "b\nc\rd\n"
Line(keep=True):  b"a\r\nb\n" -> "a\r\n", "b\n"
Line(newline="lf", keep=True):  b"a\r\nb\n" -> "a\r\n", "b\n"
Line(newline="crlf", keep=True):  b"a\r\nb\n" -> "a\r\n", "b\n"
# What Python's splitlines takes for a newline is none.
Line():  "a\x0bb\x0cc\x1cd\x85e\u2028f\ng".encode() -> "a\x0bb\x0cc\x1cd\x85e\u2028f", "g"
Line():  b"one\ntw\xff\nthree\n"
    -> "one", "bad: 'utf-8' codec can't decode byte 0xff in position 2: invalid start byte", "three"

Delimiter((b"\n", b"ab"), keep=True):  b"1ab2\nab3ab\n" -> b"1ab", b"2\n", b"ab", b"3ab", b"\n"

# The limit counts the payload, and a delimiter only if it is kept.
Delimiter((b"\r\n", b"\n"), max_size=5):  b"12345\r\n123456\n"
    -> b"12345", "frame exceeds the limit of 5 bytes (at offset 7)"
Delimiter((b"\r\n", b"\n"), keep=True, max_size=7):  b"12345\r\n123456\r\n"
    -> b"12345\r\n", "frame exceeds the limit of 7 bytes (at offset 7)"
Delimiter(b"\n", max_size=10):  b"\x16\x03\x01\x02\x00\x01" + bytes(20)
    -> "frame exceeds the limit of 10 bytes; looks like a TLS handshake (at offset 0)"
Line(max_size=10):  b"GET " * 10 -> "frame exceeds the limit of 10 bytes (at offset 0)"

# What is refused is told with what could stand there.
NETSTRING:  b":" -> "decimal length has b':' where a digit is expected (at offset 0)"
NETSTRING:  b"1x" -> "decimal length has b'x' where a digit or b':' is expected (at offset 1)"
LengthPrefix(2, format="decimal", terminator=b":"):  b"12x"
    -> "decimal length has b'x' where b':' is expected (at offset 2)"
VARINT:  b"\xff" * 9 + b"\x02" -> "varint length of more than 64 bits (at offset 9)"

Regex(rb"\n\r?\n"):  b"a\n\r\nb\n\n" -> b"a\n\r\n", b"b\n\n"
Regex(rb"a{2,3}b"):  b"aaaabaab" -> b"aaaab", b"aab"
Regex(rb"(?i)END|stop"):  b"xenDsTOPy" -> b"xenD", b"sTOP", "stream ended inside a frame: 1 byte arrived (at offset 8)"
Regex(rb"[0-9]{0,4000};{1}"):  b"12;x;" -> b"12;", b"x;"
Regex(rb".*[0-9]+;"):  b"12;x3;" -> b"12;", b"x3;"
Regex(rb"abcd.e|c"):  b"abcdxe" -> b"abc", "stream ended inside a frame: 3 bytes arrived (at offset 3)"
Regex(rb"x(?:ab|abc)d{0,2};"):  b"xabdd;xabc;" -> b"xabdd;", b"xabc;"
Regex(rb"x[a-z]{1,30};|ab|b"):  b"xyz;aab" -> b"xyz;", b"aab"
Regex(rb"(?i)a(?-i:b);"):  b"AB;Ab;" -> b"AB;Ab;"
# A match that begins later may end first: the leftmost is "abcdef", the one that ends first "cd".
Regex(rb"[a-z][a-z]cdef|c[0-9d]"):  b"abcdefcd" -> b"abcd", b"efcd"
Regex(rb"[ax]b{1,200}c|b{1,20}[de]"):  b"abbbbdbbbcd"
    -> b"abbbbd", "stream ended inside a frame: 5 bytes arrived (at offset 6)"
Regex(b"END", max_size=5):  b"abENDabcEND" -> b"abEND", "frame exceeds the limit of 5 bytes (at offset 5)"

Msgpack(raw=True):  packed("é") -> "é".encode()
Msgpack(object_hook=sorted):  packed({"b": 1, "a": 2}) -> ["a", "b"]
Msgpack(timestamp=1):  packed(msgpack.Timestamp(1, 500)) -> 1.0000005
Msgpack(strict_map_key=False):  b"\x81\x01\x02" -> {1: 2}
Msgpack(object_hook=lambda pairs: pairs["missing"]):  b"\5\x81\xa1a\1\6"
    -> 5, "bad: decode raised KeyError: 'missing'", 6
Msgpack(ext_hook=refuse_type_1):  packed(msgpack.ExtType(2, b"a"), msgpack.ExtType(1, b"b"), 3)
    -> (2, b"a"), "bad: no extension 1", 3

# A later part depends on all values before.
Sequence(Line(), Msgpack(), part_of):  b"raw\n\x03abcline\n\x00xyz\n"
    -> ("raw", 3, b"abc"), ("line", 0, "xyz")
# In smaller chunks, the own limit of a part is met before what is wrong beyond it, and before that of the frame.
Sequence(Msgpack(max_size=4), Line()):  b"\x9f" + b"\1" * 10 + b"\xc1"
    -> "frame exceeds the limit of 4 bytes (at offset 0)"
Sequence(Sequence(LengthPrefix(1, strip=0), LINE, max_size=5), LINE, max_size=6):  b"\x7f" * 150
    -> "frame exceeds the limit of 5 bytes (at offset 0)"
# A part that a function names takes bytes: no frame begins at the end.
Sequence(lambda: LINE):  b"a\nb\n" -> (b"a",), (b"b",)
# A header that makes no sense breaks the stream.
SIZED:  b"1\nab\n" -> ("1", b"a"), "invalid literal for int() with base 10: 'b' (at offset 3)"
Sequence(LINE, refuse):  b"a\nb" -> "refused: b'a' (at offset 0)"
# An undecodable part spoils its frame alone.
Sequence(Msgpack(), Line(last=False)):  b"\xa1\xffa\n\x01b\n"
    -> "bad: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", (1, "b")
# The first that is undecodable is told.
Sequence(Line(), Mapped(LINE, int), LINE):  b"1\n2\n3\n\xff\nx\n4\n"
    -> ("1", 2, b"3"), "bad: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
# An undecodable part on which the next depends breaks the stream.
HeaderThenBody(Msgpack(), FixedLength):  b"\x01a\xa1\xff"
    -> (1, b"a"),
       "a field cannot be decoded: 'utf-8' codec can't decode byte 0xff in position 0: "
       "invalid start byte (at offset 2)"
Sequence(LINE, Never()):  b"a\nbc" -> "never (at offset 2)"
Sequence(LINE, FirstOf(Never(), Never())):  b"a\nbc"
    -> "no alternative fits (Never(): never; Never(): never) (at offset 2)"
Sequence(Netstring(), Netstring()):  b"1:a,1:b," -> ("a", "b")
Sequence(Netstring(), Netstring()):  b"1:a;1:b," -> "payload is not followed by b',' (at offset 3)"
Sequence(Spaced(), Spaced()):  b"  a\n   b\nc\nd\n  " -> (b"a", b"b"), (b"c", b"d")
Sequence(Spaced()):  b"  a\n b\n " -> (b"a",), (b"b",)
# A part's own limit does not hold for the last.
Sequence(SMALL, SMALL):  b"abc\nabcdef\n" -> (b"abc", b"abcdef")
# A part above its own limit.
Sequence(SMALL, SMALL):  b"abcd\nx\n" -> "frame of 4 bytes exceeds the limit 3 (at offset 0)"
Sequence(SMALL, SMALL):  b"abcde" -> "frame exceeds the limit of 3 bytes (at offset 0)"
# A part above its own limit that says so.
Sequence(LengthPrefix(1, max_size=3), LINE):  b"\x04abcdx\n"
    -> "frame of 4 bytes exceeds the limit 3 (at offset 0)"
# A limit from the first byte to the last payload.
Sequence(LengthPrefix(1), LINE, max_size=6):  b"\x02abcde\n\x02abcdef\n"
    -> (b"ab", b"cde"), "frame exceeds the limit of 6 bytes (at offset 7)"
# The first alternative that does not refuse.
FirstOf(LengthPrefix(3, format="decimal", terminator=b":"), Msgpack(), LINE):  b"3:abc\x93\1\2\3x\n"
    -> b"abc", [1, 2, 3], 120, 10
# An undecided alternative is replayed to the next.
FirstOf(Msgpack(), LINE):  b"\x95\1\2\3\xc1\n" -> b"\x95\1\2\3\xc1"
# Refused within 64 bytes.
FirstOf(Msgpack(), LINE):  b"\xdc\xff\xff" + b"\1" * 60 + b"\xc1\n"
    -> b"\xdc\xff\xff" + b"\1" * 60 + b"\xc1"
# The place is that of the alternative that got furthest.
FirstOf(Msgpack(), NETSTRING):  b"\5\x92\1\xc1" + b"x" * 99
    -> 5, "no alternative fits (msgpack: byte 0xc1 begins no msgpack object; length-prefix:format=decimal,terminator="
       "\":\": decimal length has b'\\x92' where a digit is expected) (at offset 3)"
# What is waited for meanwhile is not too large.
FirstOf(Msgpack(max_size=5), Delimiter(b"\n", max_size=5)):  b"\xdc\0\x40" + b"ab\n" * 10 + b"\xc1\n"
    -> b"\xdc\0\x40ab", *[97, 98, 10] * 9, b"\xc1"
# Chosen after 64 bytes.
FirstOf(Msgpack(), LINE):  b"\xdc\xff\xff" + b"\1" * 61 + b"\xc1\n"
    -> "byte 0xc1 begins no msgpack object (at offset 64)"
# All refusals are told at the furthest place.
FirstOf(When(b"GET ", LINE), When(b"$", LINE), Msgpack()):  b"\x92\1\xc1"
    -> 'no alternative fits (when(delimiter:"\\n"):"GET ": frame does not begin with b\'GET \'; '
       "when(delimiter:\"\\n\"):$: frame does not begin with b'$'; "
       "msgpack: byte 0xc1 begins no msgpack object) (at offset 2)"
# One alternative refuses in its own words.
FirstOf(Msgpack()):  b"\xc1" -> "byte 0xc1 begins no msgpack object (at offset 0)"
# What the guarded alternative refuses is refused.
FirstOf(When(b"\x92", Msgpack()), LINE):  b"\x91\xc1\n\x92\xc1\n"
    -> b"\x91\xc1", "byte 0xc1 begins no msgpack object (at offset 4)"
FirstOf(Spaced(), LINE):  b"  a\n b\n " -> b"a", b"b"
FirstOf(When(b"a", Line()), When(b"b", Delimiter(b";")), VARINT):  b"a1\nb2;\2xyb3;" -> "a1", b"b2", b"xy", b"b3"
FirstOf(When(b"1", Netstring()), LINE):  b"1:a,b\n1:a;"
    -> "a", b"b", "frame ends with b';' where b',' is expected (at offset 9)"
# A beginning longer than what decides otherwise.
FirstOf(When(b"x" * 70, LINE), Delimiter(b";")):  b"x" * 70 + b"\n" + b"x" * 65 + b";" -> b"x" * 70, b"x" * 65
# A guard of several beginnings, of which five are told.
When((b"GET ", b"PUT ", b"!", b"?", b"+"), LINE):  b"PUT x\n!a\n?b\nPUSH"
    -> b"PUT x", b"!a", b"?b", "frame does not begin with b'GET ' or b'PUT ' or b'!' or b'?' or b'+' (at offset 12)"
When((b"a", b"b", b"c", b"d", b"e", b"f"), LINE):  b"x"
    -> "frame does not begin with b'a' or b'b' or b'c' or b'd' or b'e', ... (at offset 0)"
# Guards that begin alike.
FirstOf(When(b"ab", LINE), When(b"ac", Delimiter(b";")), LINE):  b"ac;ab\nad\n" -> b"ac", b"ab", b"ad"
Mapped(LINE, int):  b"1\n2\nx\n3\n" -> 1, 2, "bad: invalid literal for int() with base 10: b'x'", 3
Mapped(Msgpack(), str):  b"\x01\xa1a" -> "1", "a"
Mapped(Msgpack(), len):  msgpack.packb("x" * 600) -> 600
Mapped(Spaced(), len):  b"  abc\n " -> 3
Mapped(Netstring(), str.upper):  b"1:a,1:b;"
    -> "A", "frame ends with b';' where b',' is expected (at offset 7)"
# Nested frames that do not fill their payload.
NEST:  b"\1\x91\5\xc4\5abc\2\1\2\1\xc1\0\1\7"
    -> "bad: payload of 1 byte is cut short: its inner frame has no end",
       "bad: payload of 5 bytes is cut short: its inner frame has no end",
       "bad: payload of 2 bytes, but its inner frame ends after 1",
       "bad: payload is no msgpack at byte 0: byte 0xc1 begins no msgpack object",
       "bad: payload of 0 bytes is cut short: its inner frame has no end", 7
Nested(LINE, Netstring()):  b"1:a,\n1:a;\n"
    -> "a", "bad: payload is no Netstring at byte 3: payload is not followed by b','"
Nested(LengthPrefix(1), Spaced()):  b"\2  \4 ab\n\5 ab\n \6 ab\n a\3 ab"
    -> "bad: payload of 2 bytes is cut short: its inner frame has no end", b"ab", b"ab",
       "bad: payload of 6 bytes, but its inner frame ends after 4",
       "bad: payload of 3 bytes is cut short: its inner frame has no end"
Nested(LengthPrefix(1), Line(max_size=2)):  b"\3ab\n\4abc\n\1\n"
    -> "ab", "bad: payload is no line: frame of 3 bytes exceeds the limit 2", ""
Nested(LengthPrefix(2), Msgpack()):  b"\x02\x5b" + msgpack.packb("x" * 600) -> "x" * 600

of(every_kind):  b"12word, \1\0\2line\n\x92\1\2\1p" -> (b"12", b"word", (1, 2), "line", [1, 2], b"p", b"")
Headed(Spaced()):  b"a   b\nc d\n" -> (b"a", b"b"), (b"c", b"d")
of(pings):  b"ping\nhello\nping\n" -> b"hello"
of(small_numbers):  b"ab1;ab10;" -> 1, "too many (at offset 6)"
of(small_numbers):  b"ab6;" -> "too many by far (at offset 0)"
of(small_numbers):  b"ab5;ab1;" -> "bad: five", 1
of(small_numbers):  b"abx;" -> "invalid literal for int() with base 10: b'x' (at offset 2)"
of(negative, "field"):  b"\xfd" -> "a field of -3 bytes (at offset 0)"
of(negative, "body"):  b"\xfd" -> "a body of -3 bytes (at offset 0)"
Headed(Never()):  b"put x" -> "never (at offset 4)"
Headed(LINE, int):  b"put 1\nput x\nput 2\n"
    -> (b"put", 1), "bad: invalid literal for int() with base 10: b'x'", (b"put", 2)
Prefixed():  b"5:hello,0:;" -> b"hello", "frame ends with b';' where b',' is expected (at offset 10)"
"""
"""What a framer reads, whatever the chunks, and what is told of a bad frame or a broken stream."""
