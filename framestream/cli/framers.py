"""``framestream framers`` and ``check``: list framers, explain one, and check that they keep the contract."""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import click

import framestream
from framestream import FrameDecoder, Framer, FramestreamError, FramingError, ReadCondition
from framestream import plugins as manager
from framestream.cli.options import get_framer
from framestream.cli.output import prints_aside, say, say_list
from framestream.decoder import NEED_DATA
from framestream.errors import blame, describe_error
from framestream.framers import BUILT_IN
from framestream.iterate import placed_frames
from framestream.registry import FramerInfo
from framestream.registry.manager import NamedFramer
from framestream.registry.options import Option, options_of
from framestream.testing import ConformanceError, conformance_checks
from framestream.testing.suite import Arguments, Suite, arguments_of, in_chunks

HIGHEST: Final = 4
_COLOURS: Final = ("#c0392b", "#7f8c8d", "#2874a6", "#1e8449", "#b7950b")
_MOST_STREAMED: Final = 4096
_PLACE: Final = re.compile(r"([\w.]+):([A-Za-z_][\w.]*)")


# framers -------------------------------------------------------------------------------------------


@click.command()
@click.argument("name", required=False)
@click.option("--levels", is_flag=True, help="Try each framer of the list, and show its level, from 0 to 4.")
def framers(name: str | None, levels: bool) -> None:
    """List every framer; with NAME, explain that one, its options and examples.

    \b
    Examples:
      framestream framers
      framestream framers length-prefix
      framestream framers --levels
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    if name is None:
        rows = []
        with prints_aside():
            for info in framestream.available_framers():
                origin = "" if info.name in BUILT_IN else f" ({info.distribution})"
                level = f"{_level_of(info)}: " if levels else ""
                rows.append((info.name, f"{level}{prose(info.summary)}{origin}"))
        say_list(rows)
        return
    with prints_aside():
        factory, _ = manager.find(name)
    if isinstance(factory, NamedFramer):
        say(f"{name} = {factory.text!r}, from {factory.source}\nIn full: {get_framer(name)}")
        return
    with blame(f"{name} cannot be described", ours=(FramestreamError,)):
        text, options = prose(inspect.getdoc(factory) or ""), options_of(factory)
        examples = [(spec, draw(get_framer(spec), stream)) for spec, stream in examples_of(name, factory)]
    page = click.HelpFormatter()
    page.write(f"{name}\n")
    with page.indentation():
        # Click leaves drawings and lists as they are after this character.
        page.write_text(re.sub(r"(?<=\n\n)(?=[ *-])", "\b\n", text))
    if options:
        with page.section("Options"):
            page.write_dl([(option.key, _explained(option)) for option in options])
    for spec, drawing in examples:
        page.write(f"\n{spec}\n{drawing}\n")
    say(page.getvalue().rstrip())


def _explained(option: Option) -> str:
    default = "required" if option.required else f"default: {option.default_text}"
    return f"{prose(option.help)}  [{option.takes}; {default}]".strip()


def prose(text: str) -> str:
    """Return text without the reStructuredText marks that only its tools need."""
    return re.sub("^::\n\n|`", "", text, flags=re.MULTILINE)


def examples_of(name: str, factory: Any) -> tuple[tuple[str, bytes], ...]:
    """Return the examples in the class of a framer, each with a spec string.

    The class says ``examples = {b"3:abc,": [b"abc"]}``, the streams that the conformance kit takes, and
    ``example_spec = "netstring:max=1KiB"`` if its name alone does not make one. Those of our own framers stand in
    their docstrings.
    """
    spec = getattr(factory, "example_spec", name)
    return tuple((spec, bytes(stream)) for stream in getattr(factory, "examples", ()))


def draw(condition: ReadCondition[Any], stream: bytes, width: int = 100) -> str:
    """Return a drawing made by cutting the stream: a box for each frame, input above, decoded below."""
    # Bytes are shown as in a Python literal, which readers know.
    cells = [(repr(data)[2:-1], text) for data, text in _pieces(condition, stream)]
    widths = [max(map(len, cell)) for cell in cells]
    if sum(widths) + 3 * len(widths) + 10 > width:
        return "\n".join(f"INPUT    {above}\nDECODED  {below}" for above, below in cells)
    rule = "         +" + "+".join("-" * (size + 2) for size in widths) + "+"
    above, below = (
        "|".join(f" {cell[row]:<{size}} " for cell, size in zip(cells, widths, strict=True)) for row in (0, 1)
    )
    return "\n".join((rule, f"INPUT    |{above}|", rule, f"DECODED  |{below}|", rule))


def _pieces(condition: ReadCondition[Any], stream: bytes) -> list[tuple[bytes, str]]:
    """Return the pieces of the stream, and the result of each."""
    pieces: list[tuple[bytes, str]] = []
    place = 0

    def add(frame: Any) -> None:
        nonlocal place
        start, place = place, decoder.frame_span[1]
        pieces.append((stream[start:place], repr(frame)))

    decoder = FrameDecoder(on_payload_error=add)
    try:
        for _, frame in placed_frames(decoder, condition, [stream]):
            add(frame)
    except FramingError as error:
        pieces.append((stream[place:], describe_error(error)))
    return pieces


# check ---------------------------------------------------------------------------------------------


@click.command()
@click.argument("targets", metavar="FRAMER...", nargs=-1, required=True)
@click.option("-q", "--quiet", is_flag=True, help="Print only broken promises and verdicts.")
def check(targets: tuple[str, ...], quiet: bool) -> int:
    """Run the conformance kit on framers.

    FRAMER is MODULE:ATTRIBUTE, a framer or its class, or a spec string. Its test material comes from
    attributes of the class or else of the module: examples, malformed, incomplete, slow_frame, which are
    the arguments of framestream.testing.check_framer. The exit status is 1 if a promise is broken.

    \b
    Examples:
      framestream check 'delimiter:;,keep' --quiet
      framestream check acme_frames:AcmeFrames
    """  # noqa: D301  # click keeps the lines of a paragraph after this character
    broken = False
    for target in targets:
        outcome = Outcome(target, *_find(target))
        broken = broken or bool(outcome.broken)
        say("\n".join(outcome.lines(quiet=quiet)))
    return int(broken)


def _find(target: str) -> tuple[ReadCondition[Any], Arguments]:
    """Return the framer of a target, and its test material."""
    place = _PLACE.fullmatch(target)
    if place is not None and place[1] not in manager.names():
        return _import(target, place[1])
    framer = get_framer(target)
    return framer, arguments_of(type(framer))


def _import(target: str, module: str) -> tuple[ReadCondition[Any], Arguments]:
    sys.path.insert(0, os.getcwd())
    try:
        with prints_aside(), blame(f"{target} cannot be made", ours=(ModuleNotFoundError, AttributeError, TypeError)):
            found = pkgutil.resolve_name(target)
            framer = found() if callable(found) else found
    except (ModuleNotFoundError, AttributeError, TypeError) as error:
        raise click.UsageError(f"{target}: {describe_error(error)}") from error
    if not isinstance(framer, ReadCondition):
        raise click.UsageError(f"{target} gives {framer!r:.60}, which is not a framer")
    return framer, arguments_of(found, sys.modules[module])


# Levels --------------------------------------------------------------------------------------------


class Outcome:
    """What the conformance kit found about a framer: the name of each check, and the promise or the fault.

    Attributes:
        title: what was checked.
        found: for each check ``"ok"``, ``"-"`` (not tried) or ``"BROKEN"``, its name, and its text.
        broken: the texts of the broken ones.
        level: from 0 to `HIGHEST`, see `_steps`.
        lacking: what the next level requires.
    """

    def __init__(self, title: str, framer: ReadCondition[Any], material: Arguments) -> None:
        self.title = title
        with prints_aside(), blame(f"{title} cannot be tried", ours=(FramestreamError,)):
            self.found = list(_found(framer, material))
        self.broken = [text for mark, _, text in self.found if mark == "BROKEN"]
        self.level, self.lacking = 0, list[str]()
        for step in self._steps(framer, material):
            self.lacking = [name for name, there in step.items() if not there]
            if self.lacking:
                break
            self.level += 1

    def _steps(self, framer: ReadCondition[Any], material: Arguments) -> Iterator[dict[str, bool]]:
        """Yield what each level requires beyond the one before."""
        yield {"kept promises": not self.broken}
        yield {
            "examples": bool(material.get("examples")),
            "malformed": "malformed" in material,  # present but empty if any bytes are a frame
            "round trip": "round-trip" in self._kept() or not isinstance(framer, Framer),
        }
        yield {"peers": bool(getattr(framer, "peers", ()))}
        yield {
            "split": type(framer).split is not ReadCondition.split,
            "streaming": any(_passes_on_parts(framer, wire) for wire, _ in Suite(framer, **material).given),
            "find_start": framer.synchronises is not None,
        }

    def _kept(self) -> list[str]:
        return [name for mark, name, _ in self.found if mark == "ok"]

    def lines(self, *, quiet: bool = False) -> Iterator[str]:
        """Yield the report, with the broken promises last, where a reader looks, and the rating at the end."""
        if not quiet:
            yield self.title
        for mark, name, text in sorted(self.found, key=lambda it: ("ok", "-", "BROKEN").index(it[0])):
            if mark == "BROKEN" or not quiet:
                yield f"  {mark:<6}  {name:<14}  {text}".replace("\n", "\n          ")
        yield self.rating

    @property
    def rating(self) -> str:
        """The level, what the next one requires, and what was tried."""
        more = f" (the next takes {', '.join(self.lacking)})" if self.lacking else ""
        kept, broken = len(self._kept()), len(self.broken)
        counts = f"{kept} promises kept, {len(self.found) - kept - broken} not tried, {broken} broken"
        return f"{self.title}: level {self.level} of {HIGHEST}{more}, {counts}"


def _found(framer: ReadCondition[Any], material: Arguments) -> Iterator[tuple[str, str, str]]:
    # What a framer raises, or a wrong answer, stands in nearly every check: the first tells all, others refer to it.
    told: dict[tuple[str, bytes | None], str] = {}
    for check in conformance_checks(framer, **material):
        try:
            reason = check.run()
        except ConformanceError as error:
            first = told.setdefault((error.defect, None if error.__cause__ else error.data), check.name)
            same = f"{error.framer}: the same as in {first}"
            yield "BROKEN", check.name, str(error) if first == check.name else same
            continue
        if reason is None:
            yield "ok", check.name, prose(check.promise)
        else:
            yield "-", check.name, f"not tried: {reason}"


def trial(name: str, factory: Any, distribution: str) -> Outcome | str:
    """Check a plugin's framer against the contract with the test material of its class.

    Return the options it needs, if it cannot be made without and its class has no `example_spec`.
    """
    missing = [option.key for option in options_of(factory) if option.required]
    if missing and not hasattr(factory, "example_spec"):
        return " and ".join(missing)
    framer = get_framer(getattr(factory, "example_spec", f"{distribution}/{name}"))
    return Outcome(name, framer, arguments_of(factory))


def _level_of(info: FramerInfo) -> str:
    name = info.name.rpartition("/")[2]  # another distribution may have one of this name, too
    try:
        with blame("cannot be tried", ours=(FramestreamError,)):
            outcome = trial(name, manager.find(f"{info.distribution}/{name}")[0], info.distribution)
    except FramestreamError as error:
        return f"no level ({describe_error(error)})"
    return f"level {outcome.level}" if isinstance(outcome, Outcome) else f"no level (it needs {outcome})"


def badge(level: int) -> str:
    """Return a picture of a level, as SVG."""
    text = f"level {level} of {HIGHEST}"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="156" height="20" role="img" aria-label="framestream: {text}">
<title>framestream: {text}</title>
<rect width="84" height="20" fill="#444"/><rect x="84" width="72" height="20" fill="{_COLOURS[level]}"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="42" y="14">framestream</text><text x="120" y="14">{text}</text>
</g>
</svg>
"""


def _passes_on_parts(framer: ReadCondition[Any], wire: bytes) -> bool:
    """Tell whether part of a frame can be read before all of it has arrived."""
    decoder = FrameDecoder()
    with suppress(FramestreamError):
        for byte in in_chunks(wire[:_MOST_STREAMED], 1):
            decoder.receive_data(byte)
            last: Any = None
            while (part := decoder.next_part(framer)) is not NEED_DATA:
                last = part
            if isinstance(last, bytes):
                return True
    return False
