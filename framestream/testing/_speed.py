"""Speed: the CPU time that a framer takes for a frame, beside built-in ones on frames of the same sizes."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from framestream.decoder import END, NEED_DATA, FrameDecoder
from framestream.framer import ReadCondition
from framestream.framers.length_prefix import LengthPrefix
from framestream.framers.line import Line
from framestream.testing._failure import describe_framer

_STREAM = 256 * 1024
_CHUNK = 64 * 1024
_LARGEST = 1 << 30


@dataclass(frozen=True)
class Speed:
    """What one framer takes.

    Attributes:
        framer: the framer, as its spec string.
        one: CPU time per frame in nanoseconds, one frame at a time.
        batch: the same, by batch.
    """

    framer: str
    one: float
    batch: float


@dataclass(frozen=True)
class SpeedReport:
    """What `compare_speed` measured.

    Attributes:
        speeds: the framer's own speed first, then the built-in ones'.
        frames: frames in each stream.
        size: bytes per frame, header and delimiter included, on average.
        interpreter: what it was measured on. Figures of different interpreters cannot be compared.
    """

    speeds: tuple[Speed, ...]
    frames: int
    size: float
    interpreter: str

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times the CPU time of ``length-prefix`` a frame takes: one at a time, by batch."""
        own, reference = self.speeds[:2]
        return own.one / reference.one, own.batch / reference.batch

    def __str__(self) -> str:
        width = max(len(speed.framer) for speed in self.speeds)
        title = f"{self.frames} frames of {self.size:.0f} bytes, CPU time per frame on {self.interpreter}"
        lines = [title, f"  {'':<{width}}  one at a time  by batch"]
        lines += [f"  {s.framer:<{width}}  {s.one:>10.0f} ns {s.batch:>6.0f} ns" for s in self.speeds]
        one, batch = self.ratios
        return "\n".join([*lines, f"  {'beside length-prefix':<{width}}  {one:>10.1f} x  {batch:>6.1f} x"])


def compare_speed(framer: ReadCondition[Any], stream: bytes, *, rounds: int = 7) -> SpeedReport:
    """Measure a framer on a stream beside ``length-prefix`` and ``line`` on frames of the same sizes.

    Args:
        framer: a read condition or framer.
        stream: whole frames of typical sizes. It is repeated until there is enough of it.
        rounds: how often each is timed; the best round counts.

    Raises:
        ValueError: the stream does not consist of whole frames, or cannot be repeated.
        FramingError, PayloadError: it cannot be read.
    """
    sizes = _sizes(framer, stream)
    times = max(1, _STREAM // len(stream))
    sizes, stream = sizes * times, stream * times
    header, ending = 4, 1
    contenders: list[tuple[str, ReadCondition[Any], bytes]] = [
        (describe_framer(framer), framer, stream),
        ("length-prefix", LengthPrefix(header), b"".join(_prefixed(max(0, n - header)) for n in sizes)),
        ("line:encoding=none", Line(None), b"".join(b"x" * (n - ending) + b"\n" for n in sizes)),
    ]
    speeds = []
    for name, condition, wire in contenders:
        chunks = [wire[at : at + _CHUNK] for at in range(0, len(wire), _CHUNK)]
        ways = (_one_at_a_time, _by_batch)
        one, batch = (_best(way, condition, chunks, len(sizes), rounds) for way in ways)
        speeds.append(Speed(name, one, batch))
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    return SpeedReport(tuple(speeds), len(sizes), len(stream) / len(sizes), interpreter)


def _prefixed(size: int) -> bytes:
    return size.to_bytes(4, "big") + b"x" * size


def _sizes(framer: ReadCondition[Any], stream: bytes) -> list[int]:
    """Return how many bytes each frame takes."""
    decoder = FrameDecoder(max_frame_size=_LARGEST)
    decoder.receive_data(stream)
    ends = [0]
    while decoder.next_frame(framer) is not NEED_DATA:
        ends.append(decoder.offset)
    if not stream or ends[-1] != len(stream):
        raise ValueError(f"whole frames end at {ends[-1]} of {len(stream)} bytes of the stream")
    return [stop - start for start, stop in pairwise(ends)]


def _best(
    way: Callable[[ReadCondition[Any], list[bytes]], int],
    condition: ReadCondition[Any],
    chunks: list[bytes],
    frames: int,
    rounds: int,
) -> float:
    count = way(condition, chunks)
    if count != frames:
        raise ValueError(f"{count} frames in the repeated stream, {frames} expected; it cannot be repeated")
    best = float("inf")
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            began = time.process_time_ns()
            way(condition, chunks)
            best = min(best, time.process_time_ns() - began)
    finally:
        if was_enabled:
            gc.enable()
    return best / frames


def _one_at_a_time(condition: ReadCondition[Any], chunks: list[bytes]) -> int:
    decoder, count = FrameDecoder(max_frame_size=_LARGEST), 0
    for chunk in chunks:
        decoder.receive_data(chunk)
        while decoder.next_frame(condition) is not NEED_DATA:
            count += 1
    return count


def _by_batch(condition: ReadCondition[Any], chunks: list[bytes]) -> int:
    decoder, count = FrameDecoder(max_frame_size=_LARGEST), 0
    for chunk in chunks:
        decoder.receive_data(chunk)
        while (batch := decoder.next_batch(condition)) is not NEED_DATA and batch is not END:
            count += len(batch)
    return count
