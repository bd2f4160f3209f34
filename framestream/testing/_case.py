"""Case: one framer together with the bytes that it is tried on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from random import Random
from typing import Any, NamedTuple, TypeAlias

from framestream.framer import Framer, ReadCondition, Window
from framestream.testing._asking import ask, is_padding
from framestream.testing._chunkings import chunkings
from framestream.testing._comparing import same_frames
from framestream.testing._mutations import mutate
from framestream.testing._reference import INCOMPLETE, Cut, Reading, read_chunks
from framestream.testing._seeds import FRAMES, try_to_encode

Examples: TypeAlias = "Mapping[bytes, list[Any]] | Iterable[tuple[bytes, list[Any]]]"
Malformed: TypeAlias = "Mapping[bytes, str] | Iterable[bytes | tuple[bytes, str]]"
SlowFrame: TypeAlias = "bytes | Callable[[int], bytes]"

_MOST_SITUATIONS = 40
_NEAR = 48


class Example(NamedTuple):
    """A stream, and the frames that are in it."""

    wire: bytes
    frames: list[Any]


class Case:
    """One framer and its material; derived material is always the same for the same case.

    Attributes:
        framer: the framer under test.
        given: the author's examples: streams with the frames that are in them.
        malformed: streams that must be refused, each with a text that the error must contain.
        incomplete: streams that end inside a frame.
        slow_frame: one long frame, or a function that makes one of about so many bytes, or None.
        pieces: the frames are pieces of the stream, cut wherever the chunks happen to end.
        seed: for everything random.
    """

    def __init__(
        self,
        framer: ReadCondition[Any],
        *,
        examples: Examples = (),
        malformed: Malformed = (),
        incomplete: Iterable[bytes] = (),
        slow_frame: SlowFrame | None = None,
        pieces: bool = False,
        seed: int = 0,
    ) -> None:
        pairs = examples.items() if isinstance(examples, Mapping) else examples
        refused = malformed.items() if isinstance(malformed, Mapping) else malformed
        self.framer = framer
        self.given = tuple(Example(bytes(wire), list(frames)) for wire, frames in pairs)
        self.malformed = tuple(_with_text(item) for item in refused)
        self.incomplete = tuple(map(bytes, incomplete))
        self.slow_frame = slow_frame
        self.pieces = pieces
        self.seed = seed
        self._readings: dict[bytes, Reading] = {}

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """The author's examples; if there are none, frames that the framer writes and reads back."""
        if self.given or not isinstance(self.framer, Framer):
            return self.given
        written = [(try_to_encode(self.framer, frame), frame) for frame in FRAMES]
        alone = [Example(wire, [frame]) for wire, frame in written if wire is not None]
        alone = [example for example in alone if self._is_read_back(example)]
        in_a_row = Example(b"".join(wire for wire, _ in alone), [frame for _, [frame] in alone])
        return (*alone, in_a_row) if self._is_read_back(in_a_row) else tuple(alone)

    @property
    def wires(self) -> list[bytes]:
        """Every stream that the author gave."""
        given = [example.wire for example in self.examples]
        return [*given, *(wire for wire, _ in self.malformed), *self.incomplete]

    def reading(self, wire: bytes) -> Reading:
        """Return what the reference driver makes of a stream that is there from the beginning."""
        if wire not in self._readings:
            self._readings[wire] = read_chunks(self.framer, [wire])
        return self._readings[wire]

    def cuts(self) -> Iterator[tuple[bytes, Cut]]:
        """Yield each stream of the examples with each frame in it, up to a bounded number."""
        pairs = ((wire, cut) for wire, _ in self.examples for cut in self.reading(wire).cuts)
        return islice(pairs, _MOST_SITUATIONS)

    def frames(self) -> list[bytes]:
        """Return the bytes of distinct frames in the examples that end by themselves, shortest first."""
        distinct = {
            wire[cut.start : cut.stop]: None
            for wire, cut in self.cuts()
            if cut.stop > cut.start and ends_by_itself(self.framer, wire[cut.start : cut.stop])
        }
        return sorted(distinct, key=len)

    def situations(self) -> list[bytes]:
        """Return the bytes from each frame's start to the end of its stream, spoilt streams included."""
        found: dict[bytes, None] = {}
        for wire in (*self.wires, *self.mutants(12)):
            reading = self.reading(wire)
            starts = [cut.start for cut in reading.cuts] + [start for start, _ in reading.padding]
            if reading.outcome not in ("end", INCOMPLETE) or reading.leftover:
                starts.append(len(wire) - len(reading.leftover))
            found.update(dict.fromkeys(wire[start:] for start in starts))
        return list(found)[: 2 * _MOST_SITUATIONS]

    def _is_read_back(self, example: Example) -> bool:
        return same_frames(self.reading(example.wire).values(), example.frames)

    def mutants(self, count: int) -> list[bytes]:
        """Return streams spoilt at random."""
        wires = [wire for wire in self.wires if len(wire) <= 4096] or [b"\0framestream\r\n"]
        source = Random(self.seed)  # noqa: S311  # reproducible, not secret
        return [mutate(wires[number % len(wires)], source, wires) for number in range(count)]

    def chunkings(self, data: bytes, *, few: bool = False) -> Iterator[list[bytes]]:
        """Yield ways to cut a stream: enough of them, and not too many for the kit to stay quick."""
        if few or len(data) > 600:
            return chunkings(data, two_way=6, random=2, empty=len(data) < 200, seed=self.seed)
        return chunkings(data, two_way=40, seed=self.seed)


def ends_by_itself(framer: ReadCondition[Any], frame: bytes) -> bool:
    """Tell whether these bytes are exactly one frame, without the end of the stream."""
    answer = ask(framer, Window(frame))
    return isinstance(answer, tuple) and answer[2] == len(frame) and not is_padding(answer)


def lengths(size: int) -> list[int]:
    """Return the prefix lengths worth trying: all of a short frame, of a long one both ends and some."""
    if size <= 3 * _NEAR:
        return list(range(size + 1))
    middle = range(_NEAR, size - _NEAR, max(1, size // _NEAR))
    return [*range(_NEAR), *middle, *range(size - _NEAR, size + 1)]


def _with_text(item: bytes | tuple[bytes, str]) -> tuple[bytes, str]:
    return (bytes(item[0]), item[1]) if isinstance(item, tuple) else (bytes(item), "")
