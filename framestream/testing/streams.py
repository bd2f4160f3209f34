"""Checks of whole streams: the same frames for every chunking, every way of reading, and every division into splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise, product, takewhile
from random import Random
from typing import Any

from framestream.archives import InMemory, Reader, Split, guess, process, stitch
from framestream.decoder import POLICIES
from framestream.errors import (
    FAULTS,
    FramerContractError,
    FramingError,
    IncompleteFrame,
    PayloadError,
    PluginError,
    SpecError,
    counted,
)
from framestream.framer import ReadCondition, Window
from framestream.iterate import iter_frames
from framestream.testing.contract import ConformanceError, Untried, ask, encode, is_padding, raised
from framestream.testing.driver import (
    UNLIMITED,
    WAYS,
    By,
    Cut,
    Event,
    Reading,
    Transcript,
    error_event,
    hold_alike,
    hold_own_limit,
    read_whole,
    same_frames,
    transcript,
)
from framestream.testing.suite import Suite, cut_at, in_chunks, prefix_lengths, spoil

_MOST_ARCHIVES = 24
_MOST_WIRE = 2000
_DIVISIONS = 40
STEPS = (1, 7, 64, 1 << 16)
LIMITS = (1 << 20, 1 << 20, 40, 5)

_TAKEN = (
    "a condition that reports settled payload is shown the frame without it: window.start has moved on "
    "and window.taken bytes are gone"
)
_CHUNKED = "the same bytes are read rightly in one chunk; see check 'chunking'"
# How frames are read, and how to mend it if that gives others.
_HOW = {
    "frame": ("one at a time", ""),
    "batch": ("in batches", "split must agree with find; see check 'split'"),
    "part": ("in parts", _TAKEN),
    "mixed": ("in mixed ways", _TAKEN),
}


def check_examples(suite: Suite) -> None:
    """Every example gives its frames.

    Mend find and decode, or the example.
    """
    if not suite.given:
        raise Untried("no examples given")
    for wire, frames in suite.given:
        reading = suite.reading(wire)
        if reading.malformed or not same_frames(frames, reading.values()):
            defect = "an example does not give the frames that its author names"
            raise ConformanceError(defect, data=wire, expected=repr(frames), got=reading)
        hint = "give a framer with such a limit smaller examples, or check it without"
        hold_own_limit(suite.framer, reading, wire, "an example is", hint=hint)


def _parts(suite: Suite) -> list[bytes]:
    if not suite.examples:
        raise Untried("no examples given, and it writes no frame of a common kind itself")
    return [part for wire, _ in suite.examples for part in suite.parts_of(wire)]


def check_split(suite: Suite) -> None:
    """`split` cuts the same frames as repeated `find` and `decode`, and stops in the same place.

    Return what repeated find and decode give from window.start on, and where the first frame begins that is
    not returned. Stop before a frame that raises: the decoder then asks find about it. Or leave split out.
    """
    for wire in suite.wires:  # those that are long as well, which the parts are not
        _check_split(suite.framer, wire, read_whole(suite.framer, wire, ends=False), eof=False)
    for wire in (*suite.parts, *suite.spoilt(24)):
        broken = [wire[:size] for size in prefix_lengths(len(wire))[:-1:2]]
        for data in (wire, wire + wire, *broken, *(wire + part for part in broken[1::2])):
            _check_split(suite.framer, data, read_whole(suite.framer, data, ends=False), eof=False)
        _check_split(suite.framer, wire, suite.reading(wire), eof=True)


def _check_split(framer: ReadCondition[Any], data: bytes, reading: Reading, *, eof: bool) -> None:
    sound = takewhile(lambda cut: cut.stop > cut.start and not isinstance(cut.value, Exception), reading.cuts)
    cuts = list(sound)
    values, stops = [cut.value for cut in cuts], [0, *(cut.stop for cut in cuts)]
    for before in (b"", b"\n\0\xff"):
        start = len(before)
        try:
            answer: Any = framer.split(Window(before + data, start, eof=eof))
            frames, rest = answer
        except FAULTS as error:
            raise raised("split", error, data=data, expected=f"the frames before that one: {values!r}") from error
        if not isinstance(frames, list) or type(rest) is not int:
            defect = "split returns something else than a list of frames and an index"
            raise ConformanceError(defect, data=data, expected=f"{values!r}, {stops[-1]}", got=f"{frames!r}, {rest!r}")
        count = len(frames)
        if rest - start != stops[min(count, len(values))] or not same_frames(values[:count], frames):
            raise ConformanceError(
                "split disagrees with find",
                data=data,
                expected=f"{values!r}, with the rest beginning at {start + stops[-1]}",
                got=f"{frames!r}, with the rest beginning at {rest}",
            )


def check_spec_string(suite: Suite) -> None:
    """The framer's string, given to `get_framer`, makes an equal framer.

    Let every option be a dataclass field that a spec string can spell.
    """
    from framestream.registry import get_framer  # noqa: PLC0415  # the registry knows plugins, this kit none

    framer, text = suite.framer, str(suite.framer)
    if not framer.name:
        raise Untried("it has no name, so it is not registered")
    try:
        again = get_framer(text)
    except SpecError as error:
        raise Untried(f"{text!r} cannot be parsed here: {error}") from error
    except PluginError as error:
        if error.plugin:
            raise
        raise Untried(str(error)) from error  # two plugins claim its name, which is the fault of neither framer
    if again != framer:
        raise ConformanceError(
            "its string does not make it again",
            expected=f"get_framer({text!r}) == {framer!r}",
            got=repr(again),
        )


def check_chunking(suite: Suite) -> None:
    """Frame by frame, in batches, in parts and in any mixture, every chunking gives the same frames and the same rest.

    Let resume not move past what may be the beginning of a delimiter, and a memo not hold indices of
    window.data, because the window moves: count from window.start.
    """
    parts = _parts(suite)
    for wire in parts:
        _hold(suite, suite.reading(wire), suite.chunkings(wire))
    for wire in {wire for wire, _ in suite.examples}.difference(parts):
        _hold(suite, suite.reading(wire), ([wire], in_chunks(wire, 7)))


def check_truncation(suite: Suite) -> None:
    """A stream that breaks off gives the frames before the break, and is incomplete, not malformed.

    Answer NeedMore when window.eof is set and the frame is not complete.
    """
    for wire in _parts(suite):
        for part in (wire[:size] for size in prefix_lengths(len(wire))[:-1]):
            reading = suite.reading(part)
            if reading.malformed:
                defect = "bytes that merely break off are refused as malformed"
                raise ConformanceError(defect, data=part, got=reading.outcome)
            _hold(suite, reading, ([part], in_chunks(part, 1 + len(part) // _MOST_WIRE)), ("frame",), if_cut=_CHUNKED)


def check_malformed(suite: Suite) -> None:
    """Malformed bytes are refused, for the reason that the author names.

    Check what the framing prescribes in find, and the payload in decode.
    """
    if not suite.malformed:
        raise Untried("no malformed bytes were given")
    for wire, text in suite.malformed:
        error = _first_error(suite.framer, wire)
        if error is None or isinstance(error, IncompleteFrame):
            raise ConformanceError("malformed bytes are accepted", data=wire, got=error or "no error")
        if text not in str(error):
            defect = "malformed bytes are refused for another reason than the author names"
            raise ConformanceError(defect, data=wire, expected=f"an error with {text!r} in its text", got=repr(error))


def check_incomplete(suite: Suite) -> None:
    """A stream that ends inside a frame is reported as incomplete.

    Answer NeedMore when window.eof is set and the frame is not complete.
    """
    if not suite.incomplete:
        raise Untried("no incomplete streams were given")
    for wire in suite.incomplete:
        error = _first_error(suite.framer, wire)
        if not isinstance(error, IncompleteFrame):
            defect = "a stream that ends inside a frame is not reported as incomplete"
            raise ConformanceError(defect, data=wire, got=repr(error) if error else "no error")


def _first_error(framer: ReadCondition[Any], wire: bytes) -> Exception | None:
    """Return the first error that reading this stream to its end raises."""
    try:
        for _ in iter_frames([wire], framer):
            pass
    except (FramingError, PayloadError) as error:
        return error
    return None


def check_bad_frames(suite: Suite) -> None:
    """A frame that cannot be decoded costs its neighbours nothing, wherever it stands.

    Let decode depend on its payload alone.
    """
    framer, good, bad = suite.framer, suite.frames(), suite.bad_frames()
    if not good:
        raise Untried("the examples have no frame that ends by itself")
    if not bad:
        raise Untried("no frame that cannot be decoded stands in the malformed streams")
    known = {wire[cut.start : cut.stop]: cut.value for wire, cut in suite.cuts()}
    known |= {frame: suite.reading(frame).cuts[0].value for frame in bad}
    short, long = good[0], good[-1]
    tried = False
    for one in bad[:3]:
        for frames in ([one, long], [long, one], [short, one, long], [one, one, short, long, one, one]):
            row, alone = b"".join(frames), [known[frame] for frame in frames]
            reading = read_whole(framer, row)
            if [cut.stop - cut.start for cut in reading.cuts] != list(map(len, frames)):
                continue
            tried = True
            if not same_frames(alone, reading.values()):
                defect = "a frame that cannot be decoded costs its neighbours"
                raise ConformanceError(defect, data=row, expected=repr(alone), got=reading)
    if not tried:
        raise Untried("frames of the examples cannot stand in a row")


def check_spoilt_bytes(suite: Suite) -> None:
    """Malformed, incomplete and spoilt bytes raise framing errors only, the same ones under every chunking."""
    # The literal reading ignores the framer's own limit, and decodes payloads passed on in parts.
    for wire in (*(wire for wire, _ in suite.malformed), *suite.incomplete, *suite.spoilt(12)):
        for by in WAYS[:3]:
            whole = transcript(suite.framer, [wire], by=by)
            _hold(suite, whole, suite.chunkings(wire, few=wire not in suite.wires), (by,), max_frame_size=1 << 20)


def check_limits(suite: Suite) -> None:
    """At a limit just below, at and above a payload's size, every chunking and policy gives one verdict.

    Declare in overhead how many bytes a frame takes besides its payload, and report settled payload if frames
    of undeclared size are to be skipped.
    """
    framer = suite.framer
    for wire in _parts(suite):
        cuts = suite.reading(wire).cuts
        sizes = sorted({len(cut.payload) for cut in cuts})
        chosen = {*sizes[:1], *sizes[len(sizes) // 2 :][:1], *sizes[-1:]}
        sizes = sorted({size + step for size in chosen for step in (-1, 0, 1)} - {-1})
        for number, (limit, policy) in enumerate(product(sizes, POLICIES)):
            whole = transcript(framer, [wire], max_size=limit, on_oversize=policy)
            _check_verdict(framer, wire, cuts, limit, whole)
            option = "max_frame_size" if framer.max_size is None and number % 3 else "max_size"
            by: By = "frame" if number % 5 % 2 else "batch"
            limits: Any = {"on_oversize": policy, option: limit}
            _hold(suite, whole, suite.chunkings(wire, few=True), (by,), **limits)
    # Check each frame by its own size, too: in a row, a larger one before may already have ended the stream.
    for frame in suite.frames():
        cuts = suite.reading(frame).cuts
        limit = len(cuts[0].payload)
        _check_verdict(framer, frame, cuts, limit, transcript(framer, [frame], max_size=limit))


def _check_verdict(framer: ReadCondition[Any], wire: bytes, cuts: Iterable[Cut], limit: int, got: Transcript) -> None:
    refused = {event.offset for event in got.events if event.kind == "FrameTooLarge"}
    refused |= {place for place, _, _ in got.discards}
    for cut in cuts:
        size = len(cut.payload)
        if size <= limit and cut.start in refused:
            besides = cut.stop - cut.start - size
            raise ConformanceError(
                f"a frame with a payload of {counted(size, 'byte')} is too large for a limit of {limit}",
                data=wire[cut.start : cut.stop],
                expected="a limit counts bytes of payload, delimiters and headers do not count",
                got=f"overhead = {framer.overhead}, but besides its payload the frame takes {besides}",
            )


def _hold(
    suite: Suite,
    expected: Transcript | Reading,
    chunkings: Iterable[list[bytes]],
    ways: Iterable[By] = WAYS,
    *,
    if_cut: str = "",
    **options: Any,
) -> None:
    """Compare the decoder's results for each chunking, read in each way, with the expected ones.

    The first chunking is the whole; `if_cut` says how to mend it if only another one gives other results.
    """
    limits = options or {"max_frame_size": UNLIMITED}
    told = ", ".join(["", *(f"{name}={value}" for name, value in options.items())])
    for (number, chunks), by in product(enumerate(chunkings), ways):
        how, hint = _HOW[by]
        hint = hint or (if_cut if number else "")
        got = transcript(suite.framer, chunks, by=by, seed=number, **limits)
        hold_alike(expected, got, f"read {how}{told}, this chunking gives another transcript", chunks, hint=hint)


# Where a frame may begin --------------------------------------------------------------------------


def find_start(framer: ReadCondition[Any], data: bytes, start: int, *, step: int | None = None) -> int:
    """Return the first place from `start` on where a frame may begin, in a stream that is all of `data`.

    Args:
        framer: the framer to ask.
        data: the stream.
        start: the first place in question, 1 or more.
        step: how many bytes arrive at a time; all at once unless given.

    Raises:
        ConformanceError: its `find_start` breaks the contract.
    """
    size = len(data)
    try:
        return guess.find_start(InMemory(data, step=step or size), framer, start, size + 1, 0)
    except FramerContractError as error:
        defect = str(error).removeprefix(f"{error.framer}: ")
        raise ConformanceError(defect, data=data, got=f"asked from {start} on") from error.__cause__


def check_find_start(suite: Suite) -> None:
    """From any place in a stream on, `find_start` says where the next frame begins, or may begin.

    Let it be a function of the window alone, in which `lookbehind` bytes come before window.start, and return
    NeedMore(resume=...) while bytes to come may matter. Where it may be wrong, or may miss a frame, such as one
    that cannot be decoded, it is "likely" and not "exact".
    """
    framer = suite.framer
    if framer.synchronises is None:
        raise Untried("it does not say where frames may begin: synchronises is None")
    wires = [wire for wire in suite.parts if len(wire) <= 4096]
    together = b"".join(wire for wire, _ in suite.examples)[:600]
    # What carries frames in its payload looks as if they began there.
    carrying = [frame + wire for wire in suite.wires[:4] if (frame := encode(framer, wire))]
    archives = [*wires, together, together + together, *carrying, *suite.spoilt(12)]
    for data in list(dict.fromkeys(archives))[:_MOST_ARCHIVES]:
        for number, start in enumerate(prefix_lengths(len(data))[1:]):
            place = find_start(framer, data, start)
            for step in (None,) if number % max(1, len(data) // 8) else (None, 1, 7):
                if (other := find_start(framer, data, start, step=step)) != place:
                    raise ConformanceError(
                        "find_start answers differently when it is asked again",
                        data=data,
                        expected=f"{place} from {start} on, as with all bytes there",
                        got=f"{other}" + (f", where {counted(step, 'byte')} arrive at a time" if step else ""),
                    )
            if framer.synchronises == "exact":
                check_exact(framer, data, suite.reading(data), start, place)


def check_exact(framer: ReadCondition[Any], data: bytes, reading: Reading, start: int, place: int) -> None:
    """Check an answer against where the first frame begins from `start` on, as "exact" promises."""
    begins = [cut.start for cut in reading.cuts if cut.start >= start]
    if reading.malformed and not begins:
        return
    is_torn = reading.outcome != "end" and reading.offset >= start
    expected = [*begins, reading.offset if is_torn else len(data)][0]
    got = place
    while got < len(data) and is_padding(answer := ask(framer, Window(data, got, eof=True))):
        got += answer[2]  # type: ignore[index]  # padding is a tuple
    if got != expected:
        raise ConformanceError(
            'find_start is not "exact"',
            data=data,
            expected=f"{expected}: the first frame that begins at {start} or later",
            got=f"{place}, and a frame at {got}",
        )


# Splits -------------------------------------------------------------------------------------------


def check_splits(suite: Suite) -> None:
    """Divided anywhere, an archive gives the frames of the whole, at the same places, and the same error.

    Let find be a function of the bytes from window.start on; let find_start, if there is one, be "likely"
    unless it finds every frame.
    """
    source = Random(0)  # noqa: S311  # reproducible, not secret
    wires = [wire for wire in suite.parts if len(wire) <= _MOST_WIRE] or [source.randbytes(9)]
    for _ in range(_DIVISIONS):
        pieces = [source.choice(wires) for _ in range(source.randint(1, 6))]
        data = b"".join(spoil(piece, source) if source.random() < 0.2 else piece for piece in pieces)
        chunks = cut_at(data, [source.randint(0, len(data)) for _ in range(source.randint(0, 5))])
        check_division(suite.framer, chunks, step=source.choice(STEPS), limit=source.choice(LIMITS))


def check_division(
    framer: ReadCondition[Any], chunks: Sequence[bytes], *, step: int = 1 << 16, limit: int = 1 << 20
) -> Transcript:
    """Divide an archive into splits of these bytes, hold them to the whole, and return what is read of that.

    Args:
        framer: cuts the frames.
        chunks: the bytes of the splits.
        step: how many bytes of the archive arrive at a time.
        limit: the largest payload, for framers without a limit of their own.

    Raises:
        Untried: a frame of it takes no bytes, so that there is no end of them.
        ConformanceError: the splits give other frames than the whole.
    """
    data = b"".join(chunks)
    whole = transcript(framer, [data], max_frame_size=limit)
    if whole.leftover and whole.events[-1].kind == "end":
        raise Untried("its frames take no bytes, so that there is no end of them")
    source = InMemory(data, step=step)
    borders = list(pairwise(accumulate(filter(None, map(len, chunks)), initial=0))) or [(0, 0)]
    splits = [Split(source, framer, start, stop, max_frame_size=limit) for start, stop in borders]
    ways: dict[str, Callable[[], Iterable[list[Event]]]] = {
        "divided and stitched": lambda: [_events(split.read()) for split in stitch(splits).splits],
        "divided and read in order": lambda: process(splits, _events, jobs=1),
    }
    # After what ends a stream, a split that is read alone continues.
    if framer.synchronises == "exact" and all(event.kind in ("frame", "end") for event in whole.events):
        ways["divided, and each split read alone"] = lambda: [_events(split.read()) for split in splits]
    expected = [event for event in whole.events if event.kind != "end"]
    for way, read in ways.items():
        try:
            got = list(chain.from_iterable(read()))
        except FAULTS as error:
            raise raised(f"{way}, an archive", error, chunks=chunks, got=f"{step} bytes at a time") from error
        defect = f"two readings of the same bytes disagree: as a whole, and {way} ({step=}, {limit=})"
        hold_alike(Transcript(expected, [], None), Transcript(got, [], None), defect, chunks)
    return whole


def _events(reader: Reader) -> list[Event]:
    """Return what a decoder would report of a split, but for the end."""
    events = []
    try:
        for place, size, frame, error in reader.records(on_error="column"):
            events.append(Event("frame", frame, place + size) if error is None else error_event(error))
    except FramingError as error:
        events.append(error_event(error))
    return events
