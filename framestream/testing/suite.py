"""`Suite`: one framer together with its test material."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain, islice, pairwise
from random import Random
from types import NoneType
from typing import Any, TypeAlias, TypedDict

from framestream.framer import ReadCondition, check_condition
from framestream.testing.contract import BUFFERS, ConformanceError, encode, is_one_frame
from framestream.testing.driver import Cut, Reading, read_whole, same_frames

Examples: TypeAlias = "Mapping[bytes, list[Any]] | Iterable[tuple[bytes, list[Any]]]"
Malformed: TypeAlias = "Mapping[bytes, str] | Iterable[bytes | tuple[bytes, str]]"
SlowFrame: TypeAlias = "bytes | Callable[[int], bytes]"
Example: TypeAlias = tuple[bytes, list[Any]]  # a stream, and its frames

_MOST_SITUATIONS = 40
_MOST_PLACES = 144
_LONG = 2000  # bytes
_MANY = 16  # frames
_AROUND = 3  # of them before and after one that tells much
_SIZES = (1, 2, 3, 7)

# Values that length fields, delimiters and type bytes are likely to treat specially.
TELLING = bytes([0, 1, 9, 10, 13, 32, 34, 48, 57, 58, 127, 128, 129, 192, 220, 254, 255])

# Frames of the kinds that framers commonly carry, and streams of common protocols.
# fmt: off
FRAMES: tuple[Any, ...] = (
    b"", b"a", b"hello, world", b"\0\xff" * 20, "", "text", "zwölf Boxkämpfer", 0, -1, 1 << 40, 1.5, None,
    True, [], [1, "two", [3.0, None]], {}, {"key": "value", "list": [1, 2, 3]}, {"deep": {"er": [[[]]]}},
)
_STREAMS = (
    b"one\ntwo\r\nthree\r\n\r\nfour", b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", b"0005hello0000",
    b"\0\0\0\5hello\0\0\0\0\0\0\0\1!", b"\5\0hello\0\0\1\0!", b"\5hello\0\1!\x80\1" + b"x" * 128,
    b"5:hello,0:,1:!,", b"5\r\nhello\r\n0\r\n\r\n", b"a;b;;END c;EN--END--", b"$2\r\nhi\r\n*2\r\n:1\r\n+\r\n",
    b"\x93\1\xa3two\xc0\x82\xa1a\1\xa1b\x90\xc4\2\0\1\xcb?\xf8\0\0\0\0\0\0", b'{"a": 1}\n[2, "}"]\n"x"\n',
    b"temp=21;hum=4000;;1;a=1\nb=2\n, bdexy acy xEND.", b"\x1b[m<1>Oct 11 22:14:15 su: failed\0$\n*two\r\n",
)
# fmt: on


class Arguments(TypedDict, total=False):
    """The test material of a framer: arguments of `check_framer`, attributes of framers and test classes."""

    examples: Examples
    malformed: Malformed
    incomplete: Iterable[bytes]
    slow_frame: SlowFrame | None
    chunk_dependent: bool


def arguments_of(*owners: Any) -> Arguments:
    """Return the arguments found in the attributes of these objects; the first that has one wins."""
    found: Any = {}
    for owner in reversed(owners):
        found |= {name: getattr(owner, name) for name in Arguments.__annotations__ if hasattr(owner, name)}
    return found  # type: ignore[no-any-return]  # of these names


def pairs(what: str, given: Any, kind: Any, wanted: str, usual: Any = None) -> Iterator[tuple[bytes, Any]]:
    """Yield streams of the author's, each with what is said of it, or else with what is usual.

    Raises:
        TypeError: an item is not what is wanted, such as an integer, because bytes were given for a list of bytes.
    """
    for item in given.items() if isinstance(given, Mapping) else given:
        wire, told = item if isinstance(item, tuple) and len(item) == 2 else (item, usual)
        if not isinstance(wire, BUFFERS) or not isinstance(told, kind):
            raise TypeError(f"{what}: {item!r} is not {wanted}")
        yield bytes(wire), told


class Suite:
    """One framer and its test material; derived material is always the same for the same arguments.

    Attributes:
        framer: the framer under test.
        given: the author's examples: streams with their frames.
        malformed: streams that must be refused, each with a text that the error must contain.
        incomplete: streams that end inside a frame.
        slow_frame: one long frame, or a function that makes one of about the given size, or None.
        chunk_dependent: the frames are the bytes that have arrived, cut wherever the chunks end.
    """

    def __init__(
        self,
        framer: ReadCondition[Any],
        *,
        examples: Examples = (),
        malformed: Malformed = (),
        incomplete: Iterable[bytes] = (),
        slow_frame: SlowFrame | None = None,
        chunk_dependent: bool = False,
    ) -> None:
        check_condition(framer)
        given = pairs("examples", examples, list | tuple, "bytes with the list of their frames")
        refused = pairs("malformed", malformed, str, "bytes, perhaps with a text of their error", "")
        if not (slow_frame is None or isinstance(slow_frame, bytes) or callable(slow_frame)):
            raise TypeError(f"slow_frame: {slow_frame!r} is neither bytes nor a function that makes bytes of a size")
        self.framer = framer
        self.given = [(wire, list(frames)) for wire, frames in given]
        self.malformed: tuple[tuple[bytes, str], ...] = tuple(refused)
        self.incomplete = tuple(wire for wire, _ in pairs("incomplete", incomplete, NoneType, "bytes"))
        self.slow_frame = slow_frame
        self.chunk_dependent = chunk_dependent
        self._readings: dict[bytes, Reading] = {}

    @cached_property
    def examples(self) -> list[Example]:
        """The author's examples; without any, frames that the framer writes and reads back."""
        if self.given:
            return self.given
        written = []
        for frame in FRAMES:
            with suppress(ConformanceError):  # a frame of another kind fails in any way
                wire = encode(self.framer, frame)
                if wire is not None and self._is_read_back(wire, [frame]):
                    written.append((wire, [frame]))
        in_a_row = b"".join(wire for wire, _ in written), [frame for _, [frame] in written]
        return [*written, in_a_row] if written and self._is_read_back(*in_a_row) else written

    @property
    def wires(self) -> list[bytes]:
        """Every stream that the author gave."""
        return [*(wire for wire, _ in (*self.examples, *self.malformed)), *self.incomplete]

    @property
    def seeds(self) -> list[bytes]:
        """Streams to spoil: those that the author gave, or else what the framer writes, and real protocols."""
        return self.parts if self.given or self.malformed or self.incomplete else [*self.parts, *_STREAMS]

    @property
    def parts(self) -> list[bytes]:
        """The same streams as `wires`, but of a long one the parts of it that tell most."""
        return list(dict.fromkeys(part for wire in self.wires for part in self.parts_of(wire)))

    def parts_of(self, wire: bytes) -> list[bytes]:
        """Return a stream; of one with many frames its ends, its middle, and what stands around its odd frames.

        What is tried for breaks and limits of all kinds reads a stream a hundred times. Within a stream each frame
        begins a stream of its own, since the answer of `find` does not depend on what came before.
        """
        cuts = self.reading(wire).cuts if len(wire) > _LONG else []
        if len(cuts) <= _MANY:
            return [wire]
        sizes = [len(cut.payload) for cut in cuts]
        bad = [number for number, cut in enumerate(cuts) if isinstance(cut.value, Exception)]
        told = (0, len(cuts) // 2, sizes.index(min(sizes)), sizes.index(max(sizes)), *bad[:1])
        spans = [(max(0, number - _AROUND), number + _AROUND) for number in told]
        parts = [wire[cuts[first].start : cuts[:last][-1].stop] for first, last in spans]
        return [*parts, wire[cuts[-_AROUND].start :]]

    def reading(self, wire: bytes) -> Reading:
        """Return what the literal driver makes of a stream that has arrived completely."""
        if wire not in self._readings:
            self._readings[wire] = read_whole(self.framer, wire)
        return self._readings[wire]

    def cuts(self) -> Iterator[tuple[bytes, Cut]]:
        """Yield each stream of the examples with each frame in it, up to a bounded number."""
        parts = (part for wire, _ in self.examples for part in self.parts_of(wire))
        pairs = ((part, cut) for part in parts for cut in self.reading(part).cuts)
        return islice(pairs, _MOST_SITUATIONS)

    def frames(self) -> list[bytes]:
        """Return the bytes of distinct frames in the examples that end by themselves, shortest first."""
        return self._distinct(self.cuts())

    def bad_frames(self) -> list[bytes]:
        """Return the same for frames that cannot be decoded, from malformed and spoilt streams."""
        wires = (*(wire for wire, _ in self.malformed), *self.spoilt(24))
        cuts = ((wire, cut) for wire in wires for cut in self.reading(wire).cuts)
        return self._distinct((wire, cut) for wire, cut in cuts if isinstance(cut.value, Exception))

    def _distinct(self, cuts: Iterable[tuple[bytes, Cut]]) -> list[bytes]:
        found = {wire[cut.start : cut.stop] for wire, cut in cuts if cut.stop > cut.start}
        alone = (frame for frame in found if is_one_frame(self.framer, frame))
        return sorted(alone, key=lambda frame: (len(frame), frame))

    def situations(self) -> list[bytes]:
        """Return the bytes from each frame's start to the end of its stream, spoilt streams included."""
        found: dict[bytes, None] = {}
        for wire in (*self.parts, *self.spoilt(12)):
            reading = self.reading(wire)
            starts = [cut.start for cut in reading.cuts] + reading.padding
            if reading.malformed or reading.leftover:
                starts.append(len(wire) - len(reading.leftover))
            for start in starts:
                if len(found) < 2 * _MOST_SITUATIONS:
                    found[wire[start:]] = None
        return list(found)

    def spoilt(self, count: int) -> list[bytes]:
        """Return streams spoilt at random."""
        wires = [wire for wire in self.seeds if len(wire) <= 4096] or _STREAMS
        source = Random(0)  # noqa: S311  # reproducible, not secret
        return [spoil(wires[number % len(wires)], source) for number in range(count)]

    def chunkings(self, data: bytes, *, few: bool = False) -> Iterator[list[bytes]]:
        """Yield ways to cut a stream: enough of them, but few enough to keep the kit quick, and each once."""
        size = len(data)
        if few or size > 600:
            ways = chunkings(data, two_way=6, random=2, empty=size < 200)
        else:
            ways = chunkings(data, two_way=40)
        if size > _LONG:
            width, most = (1 + size // _LONG, _LONG) if few else (1, size // 4)
            ways = chain((way for way in ways if len(way) <= most), [in_chunks(data, width)])
        return map(list, dict.fromkeys(map(tuple, ways)))

    def _is_read_back(self, wire: bytes, frames: list[Any]) -> bool:
        return same_frames(self.reading(wire).values(), frames)


def chunkings(data: bytes, *, two_way: int = 64, random: int = 8, empty: bool = True) -> Iterator[list[bytes]]:
    """Yield lists of chunks, each of which joins to `data`; the first is the whole in one chunk.

    Then come chunks of 1, 2, 3 and 7 bytes, cuts in two, cuts at random places, and single bytes with
    empty chunks in between. The same arguments give the same chunkings. A list is cut when it is
    asked for, so taking a few of many costs little.

    Args:
        data: the bytes to cut.
        two_way: about how many cuts in two: every one if the data is that short, else those near both ends, and
            some between.
        random: how many random chunkings.
        empty: whether to include empty chunks.
    """
    size = len(data)
    yield [data]
    for width in _SIZES:
        if width < size:
            yield in_chunks(data, width)
    for cut in prefix_lengths(size, two_way)[1:-1]:
        yield [data[:cut], data[cut:]]
    source = Random(0)  # noqa: S311  # reproducible, not secret
    for _ in range(random if size > 2 else 0):
        yield cut_at(data, [source.randrange(size) for _ in range(source.randint(1, 7))])
    if empty:
        yield [b"", *(chunk for byte in in_chunks(data, 1) for chunk in (byte, b""))]


def in_chunks(data: bytes, size: int) -> list[bytes]:
    """Cut `data` into chunks of `size` bytes, the last one possibly shorter."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut `data` at these places; chunks may turn out empty."""
    return [data[start:stop] for start, stop in pairwise([0, *sorted(places), len(data)])]


def prefix_lengths(size: int, most: int = _MOST_PLACES) -> list[int]:
    """Return the prefix lengths worth trying: all of a short frame; of a long one, both ends and some."""
    if size < most:
        return list(range(size + 1))
    near = max(1, most // 3)
    middle = range(near, size - near, max(1, size // near))
    return [*range(near), *middle, *range(size - near, size + 1)]


def spoil(data: bytes, source: Random) -> bytes:
    """Return a few runs of `data` in order, with bytes left out, put in or repeated between them."""
    spoilt, at = b"", 0
    for _ in range(source.randint(0, 4)):
        size = source.randint(0, len(data))
        repeated = data[source.randint(0, len(data)) :][:16]
        inserts = (b"", bytes([source.choice(TELLING)]), source.randbytes(1), repeated)
        spoilt += data[at : at + size] + source.choice(inserts)
        at += size + source.choice((0, 1, 1, 6))
    return spoilt + data[at : at + source.randint(0, len(data))]
