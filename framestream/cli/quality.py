"""The quality of a framer: the results of the conformance kit, its level, and a badge that shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from framestream.decoder import NEED_DATA, FrameDecoder
from framestream.errors import FramestreamError
from framestream.framer import Framer, ReadCondition
from framestream.registry import get_framer
from framestream.registry.options import describe_options
from framestream.testing.suite import Arguments, Suite, arguments_of, in_chunks

HIGHEST: Final = 4
_COLOURS: Final = ("#c0392b", "#7f8c8d", "#2874a6", "#1e8449", "#b7950b")
_MOST_STREAMED: Final = 4096


def prose(text: str) -> str:
    """Return text without the reStructuredText marks that only its tools need."""
    return re.sub("^::\n\n|`", "", text, flags=re.MULTILINE)


class Outcome:
    """What the conformance kit found about a framer: the name of each check, and the promise or the fault.

    Attributes:
        found: for each check ``"ok"``, ``"-"`` (not tried) or ``"BROKEN"``, its name, and its text.
        broken: the texts of the broken ones.
        level: from 0 to `HIGHEST`, see `_steps`.
        lacking: what the next level requires.
    """

    def __init__(self, title: str, framer: ReadCondition[Any], material: Arguments) -> None:
        from framestream.testing import ConformanceError, conformance_checks  # noqa: PLC0415

        found: list[tuple[str, str, str]] = []
        # A framer that raises does so in nearly every check: the first tells all, the others refer to it.
        raised: dict[str, str] = {}
        for check in conformance_checks(framer, **material):
            try:
                reason = check.run()
            except ConformanceError as error:
                first = raised.setdefault(error.defect, check.name) if error.__cause__ else check.name
                text = str(error) if first == check.name else f"{error.framer}: the same as in {first}"
                found.append(("BROKEN", check.name, text))
            else:
                told = ("ok", prose(check.promise)) if reason is None else ("-", f"not tried: {reason}")
                found.append((told[0], check.name, told[1]))
        # Kept promises first, and broken ones last, where a reader looks.
        self.found = sorted(found, key=lambda it: ("ok", "-", "BROKEN").index(it[0]))
        self.broken = [text for mark, _, text in found if mark == "BROKEN"]
        counts = Counter(mark for mark, *_ in found)
        self.title = title
        self.counts = f"{counts['ok']} promises kept, {counts['-']} not tried, {counts['BROKEN']} broken"
        self.level, self.lacking = 0, list[str]()
        for step in self._steps(framer, material):
            self.lacking = [name for name, there in step.items() if not there]
            if self.lacking:
                break
            self.level += 1

    def _steps(self, framer: ReadCondition[Any], material: Arguments) -> Iterator[dict[str, bool]]:
        """Yield what each level requires beyond the one before."""
        yield {"kept promises": not self.broken}
        kept = {name for mark, name, _ in self.found if mark == "ok"}
        yield {
            "examples": bool(material.get("examples")),
            "malformed": "malformed" in material,  # present but empty if any bytes are a frame
            "round trip": "round-trip" in kept or not isinstance(framer, Framer),
        }
        yield {"peers": bool(getattr(framer, "peers", ()))}
        yield {
            "split": type(framer).split is not ReadCondition.split,
            "streaming": any(_passes_on_parts(framer, wire) for wire, _ in Suite(framer, **material).given),
            "find_start": framer.synchronises is not None,
        }

    def lines(self, *, quiet: bool = False) -> Iterator[str]:
        """Yield the report, and the verdict at the end."""
        if not quiet:
            yield self.title
        for mark, name, text in self.found:
            if mark == "BROKEN" or not quiet:
                yield f"  {mark:<6}  {name:<14}  {text}".replace("\n", "\n          ")
        yield f"{self.title}: {self.counts}"

    @property
    def rating(self) -> str:
        """The level, what the next one requires, and what was tried."""
        more = f" (the next takes {', '.join(self.lacking)})" if self.lacking else ""
        return f"{self.title}: level {self.level} of {HIGHEST}{more}, {self.counts}"


def trial(name: str, factory: Any, distribution: str) -> Outcome | str:
    """Check a plugin's framer against the contract with the test material of its class.

    Return the options it needs, if it cannot be made without and its class has no `example_spec`.
    """
    spec = getattr(factory, "example_spec", name)
    missing = [option.key for option in describe_options(factory) if option.required]
    if spec == name and missing:
        return " and ".join(missing)
    framer = get_framer(spec if ":" in spec or name != spec else f"{distribution}/{name}")
    return Outcome(name, framer, arguments_of(factory))


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
