"""The cost of a framer: counted for its checks, and timed for people.

A count is the same on every machine: twice the bytes may cost twice as much, and no more. Times differ between
machines, so they stand next to those of known framers.
"""

from __future__ import annotations

import gc
import platform
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import process_time
from timeit import Timer
from typing import Any

from framestream.decoder import FrameDecoder
from framestream.framer import NeedMore, ReadCondition, Window
from framestream.framers.answers import Over
from framestream.framers.delimiter import Line
from framestream.framers.length_prefix import LengthPrefix
from framestream.iterate import answers, placed_frames
from framestream.testing.contract import (
    ConformanceError,
    Untried,
    ask,
    describe_framer,
    drip,
    encode,
    hold_same,
    is_one_frame,
    window_after,
)
from framestream.testing.driver import UNLIMITED, read_whole, transcript
from framestream.testing.streams import find_start
from framestream.testing.suite import Suite, in_chunks, prefix_lengths

# Twice the work may cost twice as much, and this many bytes for each byte of the stream may be noise.
_FACTOR = 2.05
_COUNTED = {
    "examined": ("bytes examined", 4),
    "entitled": ("bytes between resume and the end of the data", 4),
    "allocated": ("bytes allocated", 24),
}
# Up to 256, integers are there already: places in the first bytes would cost less than others.
_BEFORE = bytes(257)
_HEADER = 64

# Long enough for quadratic cost to stand out, short enough to feed byte by byte in a few milliseconds.
_SIZES = (512, 128, 32)

# What an empty frame is grown from.
_ONE: dict[type, Any] = {bytes: b"x", str: "x", list: [0]}

# Short frames are repeated to streams of this size and its double, much longer than a framer may
# look at in one bounded glance.
_STREAM = 1 << 14
_MOST_QUESTIONS = 64

# A few parser objects and buffers may be made; a declared size goes far beyond.
_MOST_ALLOCATED = 4 << 20
_MOST_STARTS = 8

# Bytes of memory for each byte of a frame that arrives slowly: the byte in the buffer, perhaps in a field as
# well, both with room to grow, and a place in a list of fields. What does not grow with the frame may vary.
_MOST_HELD = 4
_NOISE = 512


class CountedBytes(bytes):
    """Bytes that count how many of them their methods look at or copy; long slices of them count for them, too.

    Code in C that uses the buffer protocol, such as a regex, is not seen. The kit catches
    that by other means: by the memory it allocates, and by decoys put where it must not look.
    """

    examined = 0
    whole: CountedBytes | None = None  # what this is a slice of

    def look(self, examined: int) -> None:
        whole = self if self.whole is None else self.whole
        whole.examined += examined

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if isinstance(found, bytes):
            return self._copy(found)
        self.look(1)
        return found

    def __bytes__(self) -> bytes:
        return self._copy(bytes(memoryview(self))) if self.whole is None else self  # a slice is bytes already

    def _copy(self, found: bytes) -> bytes:
        self.look(len(found))
        if len(found) <= _HEADER:
            return found
        copy = CountedBytes(found)
        copy.whole = self if self.whole is None else self.whole
        return copy

    def __iter__(self) -> Iterator[int]:
        for byte in super().__iter__():
            self.look(1)
            yield byte


def _counting(name: str) -> Any:
    """Return a method of bytes that counts what it examines."""
    method = getattr(bytes, name)

    def counting(self: CountedBytes, *arguments: Any, **options: Any) -> Any:
        result = method(self, *arguments, **options)
        self.look(_examined(len(self), name, arguments, result))
        return result

    return counting


# Not by `__getattribute__`: `examined` itself is looked up for every question.
for _name in vars(bytes).keys() - {"fromhex", "maketrans"}:
    if not _name.startswith("__") or _name == "__contains__":
        setattr(CountedBytes, _name, _counting(_name))


def _examined(size: int, name: str, arguments: tuple[Any, ...], found: Any) -> int:
    """Return how many of the bytes a method looked at, given its arguments and its result."""
    if name in ("startswith", "endswith"):
        return 1
    if name not in ("find", "rfind", "index", "rindex", "count"):
        return size
    first, last, _ = slice(*(*arguments[1:3], None, None)[:2]).indices(size)
    if name == "count" or found < 0:
        return max(0, last - first)
    return int(last - found if name.startswith("r") else found + 1 - first)


@contextmanager
def _tracing() -> Iterator[None]:
    """Trace allocations; tracing that was on before stays on."""
    traced = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        yield
    finally:
        if not traced:
            tracemalloc.stop()


class _Metered(Over[Any]):
    """Another framer, and the cost of asking it so far; allocations count while they are traced."""

    def __init__(self, framer: ReadCondition[Any]) -> None:
        self._adopt(framer)
        self.examined = 0
        self.allocated = 0  # at most at a time in each question
        self.entitled = 0  # between resume and the end: what a framer may look at by its own answers

    def find(self, window: Window) -> Any:
        return self._counting(self._cutter.find, window)

    def split(self, window: Window) -> Any:
        return self._counting(self._cutter.split, window)

    def find_start(self, window: Window) -> Any:
        return self._counting(self._cutter.find_start, window)

    def _counting(self, ask: Callable[[Window], Any], window: Window) -> Any:
        data = window.data if isinstance(window.data, CountedBytes) else CountedBytes(window.data)
        counted = Window(data, window.start, window.resume, window.memo, window.eof, window.taken)
        tracemalloc.reset_peak()
        before, examined = tracemalloc.get_traced_memory()[0], data.examined
        try:
            return ask(counted)
        finally:
            self.allocated += max(0, tracemalloc.get_traced_memory()[1] - before)
            self.examined += data.examined - examined
            self.entitled += len(data) - window.resume


def _compare_cost(
    framer: ReadCondition[Any],
    pair: tuple[bytes, bytes],
    use: Callable[[ReadCondition[Any], bytes], object],
    faults: dict[str, str],
) -> None:
    """Use a framer on some bytes, and on about twice as many, which may cost in proportion.

    Args:
        faults: what is counted, and the defect if that costs more.
    """
    meters = [_Metered(framer) for _ in pair]
    with _tracing() if "allocated" in faults else nullcontext():
        for meter, data in zip(meters, pair, strict=True):
            use(meter, data)
    short, long = map(len, pair)
    for counted, defect in faults.items():
        name, noise = _COUNTED[counted]
        low, high = (getattr(meter, counted) for meter in meters)
        if high > low * _FACTOR * long / (2 * short) + noise * long:
            raise ConformanceError(
                defect,
                data=pair[1],
                expected=f"at most {_FACTOR} times the cost for twice the bytes",
                got=f"{name}: {low} for {short} bytes, {high} for {long} bytes ({high / max(1, low):.1f} times)",
            )


def check_linear_cost(suite: Suite) -> None:
    """A frame that arrives byte by byte costs twice as much if it is twice as long.

    Search from window.resume instead of window.start, and return NeedMore(resume=...) with the index up to which
    nothing was found. Look at window.data in place, with indices: a slice or bytes(window.data) copies it. Where a
    header tells the size, return the span at once, for it may end beyond the data.
    """
    what = "a frame that arrives byte by byte"
    faults = {
        "entitled": f"find rescans {what}: resume stays where it was",
        "examined": f"find rescans {what}",
        "allocated": f"find copies {what} again and again",
    }
    use = lambda framer, data: deque(drip(framer, data, _BEFORE), maxlen=0)  # noqa: E731
    _compare_cost(suite.framer, slow_frames(suite), use, faults)


def check_resume(suite: Suite) -> None:
    """What lies before `resume` is not searched again, except for the first 64 bytes of the frame.

    Search from window.resume, and from no byte before it: let resume stay where half a delimiter may be.
    """

    def has_found(answer: Any) -> bool:
        return not isinstance(answer, NeedMore) or answer.size > size or answer.memo != need.memo

    _, frame = slow_frames(suite)
    asked = set(prefix_lengths(len(frame))[1:-1])
    for need, part, _, answer in drip(suite.framer, frame):
        resume, size = need.resume or 0, len(part)
        hidden = resume - _HEADER
        # Ask again with decoys of the frame's end in all bytes that must not be looked at.
        for width in (1, 2, 4, 8, 16) if hidden > 0 and size in asked else ():
            decoy = (frame[-width:] * (hidden // width + 1))[-hidden:]
            shown = frame[:_HEADER] + decoy + frame[resume:size]
            again = ask(suite.framer, window_after(need, shown))
            # Once the end of a header is found, all of it may be read: what it then says need not be the same.
            if has_found(answer) and has_found(again) and not (isinstance(again, tuple) and again[2] <= resume):
                continue
            hold_same(answer, again, f"find rescans: it looks again at bytes before resume ({resume})", shown)


def check_many_frames(suite: Suite) -> None:
    """Many short frames that arrive together cost twice as much if they are twice as many.

    Stop at the frame's end, and slice nothing else; let split go through the window once, and not cut off its
    beginning.
    """
    _check_repeated(suite, suite.frames(), "short frames")


def check_many_bad_frames(suite: Suite) -> None:
    """Many frames that cannot be decoded cost twice as much if they are twice as many, too.

    Stop at the frame's end, and slice nothing else.
    """
    _check_repeated(suite, suite.bad_frames(), "frames that cannot be decoded")


def _check_repeated(suite: Suite, frames: list[bytes], kind: str) -> None:
    frames = [frame for frame in frames if len(frame) <= _STREAM // 64]
    if not frames:
        raise Untried(f"there are no {kind} that end by themselves")
    size, count = len(frames[-1]), _STREAM // len(frames[-1])
    pair = (frames[-1] * count, frames[-1] * count * 2)
    if len(read_whole(suite.framer, pair[0]).cuts) != count:
        raise Untried("frames of the examples cannot be repeated: one takes the next for its own")
    step = size * (count // _MOST_QUESTIONS or 1)

    def find_each(framer: ReadCondition[Any], data: bytes) -> None:
        stream = CountedBytes(data)  # once, and not for each question
        for start in range(0, len(data), step):
            ask(framer, Window(stream, start))

    def split_all(framer: ReadCondition[Any], data: bytes) -> None:
        transcript(framer, [data], by="batch", max_frame_size=UNLIMITED)

    cost = f": {2 * count} {kind} in one chunk cost more and more"
    for use, fault in (
        (find_each, "find looks far beyond the frame"),
        (split_all, "split looks at the same bytes again"),
    ):
        _compare_cost(suite.framer, pair, use, dict.fromkeys(("examined", "allocated"), fault + cost))


def check_start_cost(suite: Suite) -> None:
    """To find a start in bytes that arrive one by one costs twice as much in twice as many.

    Go on from window.start, and return NeedMore(resume=...) with what is ruled out; where a beginning is
    checked by what is far after it, say in NeedMore(size=...) how many bytes that takes from window.start on.
    """
    if suite.framer.synchronises is None:
        raise Untried("it does not say where frames may begin: synchronises is None")
    fault = "find_start looks at the same bytes again and again as more arrive"
    faults = dict.fromkeys(("examined", "entitled"), fault)
    _compare_cost(suite.framer, slow_frames(suite), lambda framer, data: find_start(framer, data, 1, step=1), faults)


def check_memory(suite: Suite) -> None:
    """A frame that arrives byte by byte is held in about as many bytes as have arrived.

    Keep in memo only what the next question needs and the window does not show. A generator should yield many
    short fields as one, and take them apart when all are there.
    """
    pair = slow_frames(suite)
    _held(suite.framer, pair[0])  # what is made once, such as caches, is not held for a frame
    short, long = (_held(suite.framer, frame) for frame in pair)
    more = len(pair[1]) - len(pair[0])
    if long - short > _MOST_HELD * more + _NOISE:
        raise ConformanceError(
            "a frame that arrives byte by byte takes far more memory than it has bytes",
            data=pair[1],
            expected=f"at most {_MOST_HELD * more + _NOISE} bytes of memory for {more} more of the frame",
            got=f"{long - short} bytes",
        )


def _held(framer: ReadCondition[Any], frame: bytes) -> int:
    """Return how many bytes of memory are held when all of a frame but its last byte has arrived."""
    gc.freeze()  # so that collecting looks at what is new only
    try:
        with _tracing():
            before, _ = tracemalloc.get_traced_memory()
            _last = deque(drip(framer, frame[:-1]), maxlen=1)
            gc.collect()  # the interpreter keeps tuples for later use
            return tracemalloc.get_traced_memory()[0] - before
    finally:
        gc.unfreeze()


def check_declared_sizes(suite: Suite) -> None:
    """No size that a frame declares makes `find` allocate memory before the bytes have arrived.

    Return the span without making anything of that size: the decoder checks the limit, and collects the bytes
    as they arrive.
    """
    starts = list(dict.fromkeys(frame[:_HEADER] for frame in suite.situations()))[:_MOST_STARTS]
    meter = _Metered(suite.framer)
    with _tracing():
        for data in dict.fromkeys(chain.from_iterable(map(_with_huge_numbers, starts))):
            before = meter.allocated
            ask(meter, Window(data))
            if (allocated := meter.allocated - before) > _MOST_ALLOCATED:
                raise ConformanceError(
                    "find allocates memory for a size that a frame merely declares",
                    data=data,
                    expected=f"at most {_MOST_ALLOCATED} bytes for the {len(data)} that are there",
                    got=f"{allocated} bytes allocated",
                )


def _with_huge_numbers(frame: bytes) -> Iterator[bytes]:
    for at in range(min(len(frame), 8)):
        for width in (1, 2, 4, 8):
            for digit in (b"\x7f", b"\xff", b"9"):
                yield frame[:at] + digit * width + frame[at + width :]


def slow_frames(suite: Suite) -> tuple[bytes, bytes]:
    """Return a long frame, or the beginning of one, and one about twice as long.

    Raises:
        Untried: none was given, and none can be made for this framing.
    """
    given: Any = suite.slow_frame
    if isinstance(given, bytes):
        if len(given) < 2:
            raise Untried("slow_frame has no two bytes to compare the cost of")
        return given[: len(given) // 2], given
    for size in _SIZES:
        for make in _growers(suite) if given is None else [given]:
            pair = make(size), make(2 * size)
            if all(isinstance(frame, bytes) and is_one_frame(suite.framer, frame, eof=True) for frame in pair):
                return pair
    if given is None:
        raise Untried("no slow_frame was given and none could be grown from the examples")
    raise ConformanceError(
        "slow_frame does not make one frame",
        expected="a function from a number of bytes to the bytes of one frame of about that size",
        got=repr(given(_SIZES[-1])),
    )


def _growers(suite: Suite) -> Iterator[Callable[[int], bytes]]:
    """Yield functions that grow a frame of the examples: by encoding more of its kind, or by one byte."""
    for wire, cut in suite.cuts():
        frame = wire[cut.start : cut.stop]
        if len(_encoded(suite.framer, cut.value, _SIZES[0])) >= _SIZES[0]:
            yield partial(_encoded, suite.framer, cut.value)
        for at in range(min(len(frame), 64)):
            yield partial(_stretched, frame, at)


def _encoded(framer: ReadCondition[Any], frame: Any, size: int) -> bytes:
    """Return a frame of the same kind, of this size or up to about twice of it, or nothing if it has no encoding."""
    wire = encode(framer, _with_items(frame, size)) or b""
    # What an item takes is known now; the first ones may take half as much.
    items = 2 * size * size // len(wire) + 1 if len(wire) > 2 * size else size
    return wire if items == size else encode(framer, _with_items(frame, items)) or b""


def _with_items(frame: Any, items: int) -> Any:
    """Return a frame of the same kind with so many items, if it is a kind that has items."""
    if isinstance(frame, dict):
        return {str(number): number for number in range(items)}
    some: Any = frame or _ONE.get(type(frame))
    return some * (items // len(some) + 1) if type(frame) in _ONE else frame


def _stretched(frame: bytes, at: int, size: int) -> bytes:
    return frame[:at] + frame[at : at + 1] * size + frame[at:]


# Timed -------------------------------------------------------------------------------------------

_TIMED = 256 * 1024
_CHUNK = 64 * 1024
_LARGEST = 1 << 30


@dataclass(frozen=True)
class SpeedReport:
    """The measurements of `compare_speed`.

    Attributes:
        speeds: CPU time per frame in nanoseconds, one frame at a time and by batch, by the framer's spec
            string: the framer's own first, then the built-in ones'.
        frames: frames in each stream.
        size: bytes per frame, header and delimiter included, on average.
        interpreter: what it was measured on. Figures of different interpreters cannot be compared.
    """

    speeds: dict[str, tuple[float, float]]
    frames: int
    size: float
    interpreter: str = f"{platform.python_implementation()} {platform.python_version()}"

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times the CPU time of ``length-prefix`` a frame takes: one at a time, by batch."""
        own, reference, *_ = self.speeds.values()
        return own[0] / reference[0], own[1] / reference[1]

    def __str__(self) -> str:
        lines = [f"{self.frames} frames of {self.size:.0f} bytes, CPU time per frame on {self.interpreter}"]
        rows = {name: (f"{one:.0f} ns", f"{many:.0f} ns") for name, (one, many) in self.speeds.items()}
        rows["beside length-prefix"] = (f"{self.ratios[0]:.1f} x ", f"{self.ratios[1]:.1f} x")
        width = max(map(len, rows))
        for name, (one, many) in {"": ("one at a time", "by batch"), **rows}.items():
            lines.append(f"  {name:<{width}}  {one:>13}  {many:>8}")
        return "\n".join(lines)


def compare_speed(framer: ReadCondition[Any], stream: bytes, *, rounds: int = 7) -> SpeedReport:
    """Measure a framer on a stream next to ``length-prefix`` and ``line`` on frames of the same sizes.

    Args:
        framer: a read condition or framer.
        stream: whole frames of typical sizes. It is repeated until it is long enough.
        rounds: how often each is timed; the best round counts.

    Raises:
        ValueError: the stream has no frames, or cannot be repeated.
        FramingError, PayloadError: it cannot be read.
    """
    decoder = FrameDecoder(max_frame_size=_LARGEST)
    sizes = [stop - start for (start, stop), _ in placed_frames(decoder, framer, [stream])]
    times = max(1, _TIMED // max(1, len(stream)))
    sizes, stream = sizes * times, stream * times
    prefixed = b"".join(max(0, size - 4).to_bytes(4, "big") + b"x" * (size - 4) for size in sizes)
    lines = b"".join(b"x" * (size - 1) + b"\n" for size in sizes)
    speeds = {}
    for condition, wire in ((framer, stream), (LengthPrefix(), prefixed), (Line(None), lines)):
        read = partial(_read_all, condition, in_chunks(wire, _CHUNK))
        count = read(by_batch=False)
        if not count or count != len(sizes):
            raise ValueError(f"{count} frames in the stream, {len(sizes)} expected; it cannot be repeated")
        timers = [Timer(partial(read, by_batch=by_batch), timer=process_time) for by_batch in (False, True)]
        one, many = (min(timer.repeat(rounds, number=1)) / count * 1e9 for timer in timers)
        speeds[describe_framer(condition)] = one, many
    return SpeedReport(speeds, len(sizes), len(stream) / len(sizes))


def _read_all(condition: ReadCondition[Any], chunks: list[bytes], *, by_batch: bool) -> int:
    """Read a stream; return the number of its frames."""
    decoder = FrameDecoder(max_frame_size=_LARGEST)
    take: Any = partial(decoder.next_batch if by_batch else decoder.next_frame, condition)
    return sum(len(found) if by_batch else 1 for found in answers(decoder, take, chunks))
