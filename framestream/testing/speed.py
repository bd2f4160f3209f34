"""The cost of a framer, timed: for people, next to known framers, since times differ between machines."""

from __future__ import annotations

import platform
import time
import timeit
from dataclasses import dataclass
from typing import Any

from framestream.decoder import NEED_DATA, FrameDecoder
from framestream.framer import ReadCondition
from framestream.framers.delimiter import Line
from framestream.framers.length_prefix import LengthPrefix
from framestream.iterate import placed_frames
from framestream.testing.contract import describe_framer
from framestream.testing.suite import in_chunks

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
    interpreter: str

    @property
    def ratios(self) -> tuple[float, float]:
        """How many times the CPU time of ``length-prefix`` a frame takes: one at a time, by batch."""
        own, reference, *_ = self.speeds.values()
        return own[0] / reference[0], own[1] / reference[1]

    def __str__(self) -> str:
        width = max(map(len, (*self.speeds, "beside length-prefix")))
        rows = [("", "one at a time", "by batch")]
        rows += [(name, f"{one:.0f} ns", f"{many:.0f} ns") for name, (one, many) in self.speeds.items()]
        rows += [("beside length-prefix", f"{self.ratios[0]:.1f} x ", f"{self.ratios[1]:.1f} x")]
        lines = [f"  {name:<{width}}  {one:>13}  {many:>8}" for name, one, many in rows]
        head = f"{self.frames} frames of {self.size:.0f} bytes, CPU time per frame on {self.interpreter}"
        return "\n".join([head, *lines])


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
        chunks = in_chunks(wire, _CHUNK)
        count = _read_all(condition, chunks, by_batch=False)
        if count != len(sizes) or not count:
            raise ValueError(f"{count} frames in the stream, {len(sizes)} expected; it cannot be repeated")
        one, many = (_seconds(condition, chunks, by_batch, rounds) for by_batch in (False, True))
        speeds[describe_framer(condition)] = one / count * 1e9, many / count * 1e9
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    return SpeedReport(speeds, len(sizes), len(stream) / len(sizes), interpreter)


def _read_all(condition: ReadCondition[Any], chunks: list[bytes], by_batch: bool) -> int:
    """Read a stream; return the number of its frames."""
    decoder, count = FrameDecoder(max_frame_size=_LARGEST), 0
    take: Any = decoder.next_batch if by_batch else decoder.next_frame
    for chunk in chunks:
        decoder.receive_data(chunk)
        while (found := take(condition)) is not NEED_DATA:
            count += len(found) if by_batch else 1
    return count


def _seconds(condition: ReadCondition[Any], chunks: list[bytes], by_batch: bool, rounds: int) -> float:
    """Return the CPU time of the quickest round."""
    timer = timeit.Timer(lambda: _read_all(condition, chunks, by_batch), timer=time.process_time)
    return min(timer.repeat(rounds, number=1))
