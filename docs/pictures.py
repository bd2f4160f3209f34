#!/usr/bin/env python3
"""Draw the pictures of the documentation: docs/pictures/*.svg, text that a browser draws and a diff shows.

Each function below draws one picture, 720 wide. Colours come from the site's theme where there is one, else
from what the reader's system prefers. Run this after changing a picture; a test tells when it is due.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from framestream.cli import run

FOLDER = Path(__file__).parent / "pictures"
CAPTURES = FOLDER.parents[1] / "examples" / "captures"
WIDTH = 720

STYLE = """\
.fs{--ink:var(--md-default-fg-color,#24292f);--soft:var(--md-default-fg-color--light,#57606a);\
--fill:var(--md-code-bg-color,#f1f3f5);--line:#4a72c4;--mark:#4a72c433;--warm:#d9822b40;--edge:#d9822b}
@media (prefers-color-scheme:dark){.fs{--ink:var(--md-default-fg-color,#dfe3ea);\
--soft:var(--md-default-fg-color--light,#9aa4b2);--fill:var(--md-code-bg-color,#262a35)}}
.fs text{fill:var(--ink);font:13px system-ui,sans-serif}
.fs .code{font-family:ui-monospace,SFMono-Regular,Menlo,monospace;white-space:pre}
.fs .strong{font-weight:600}.fs .soft{fill:var(--soft);font-size:12px}
.fs .box{fill:var(--fill);stroke:var(--soft)}.fs .mark{fill:var(--mark);stroke:var(--line)}
.fs .warm{fill:var(--warm);stroke:var(--edge)}.fs .bare{fill:none;stroke:var(--soft);stroke-dasharray:4 3}
.fs .arrow{fill:none;stroke:var(--line);stroke-width:1.5}.fs .head{fill:var(--line)}
.fs .rule{stroke:var(--soft);fill:none}
"""


class Canvas:
    """Boxes, texts and arrows, in the order in which they are drawn."""

    def __init__(self, height: int, title: str) -> None:
        self.height, self.title, self.parts = height, title, list[str]()

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write one line; `y` is its base line."""
        kinds = f' class="{kind}"' if kind else ""
        where = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{kinds}{where}>{escape(text, quote=False)}</text>')

    def box(self, x: float, y: float, wide: float, high: float, *lines: str, kind: str = "box") -> None:
        """Draw a box with a title and softer lines below it, in its middle."""
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" rx="4" class="{kind}"/>')
        top = y + high / 2 + 4.5 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            self.text(x + wide / 2, top + 16 * number, line, "soft" if number else "strong", "middle")

    def arrow(self, *points: tuple[float, float], text: str = "", at: tuple[float, float] = (0, 0)) -> None:
        """Draw a line through points, with a head at the last, and a text around `at`."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        (fx, fy), (tx, ty) = points[-2:]
        dx, dy = (tx > fx) - (tx < fx), (ty > fy) - (ty < fy)
        wings = [(tx - 8 * dx + 4 * dy * s, ty - 8 * dy + 4 * dx * s) for s in (1, -1)]
        head = " ".join(f"{x:g},{y:g}" for x, y in [(tx, ty), *wings])
        self.parts.append(f'<polyline points="{path}" class="arrow"/><polygon points="{head}" class="head"/>')
        if text:
            self.text(*at, text, "soft", "middle")

    def cells(self, x: float, y: float, cells: Sequence[str], kinds: str, wide: float = 40) -> None:
        """Draw one cell for each byte; a letter of `kinds` for each: b(ox), m(ark), w(arm), d(ashed)."""
        names = {"b": "box", "m": "mark", "w": "warm", "d": "bare"}
        for number, (cell, kind) in enumerate(zip(cells, kinds, strict=True)):
            left = x + wide * number
            self.parts.append(f'<rect x="{left:g}" y="{y:g}" width="{wide:g}" height="30" class="{names[kind]}"/>')
            self.text(left + wide / 2, y + 20, cell, "code", "middle")

    def place(self, x: float, y: float, *names: str) -> None:
        """Point up at a border between bytes, with names below."""
        self.parts.append(f'<path d="M{x:g},{y:g}v14M{x - 3:g},{y + 5:g}l3,-5l3,5" class="rule"/>')
        for number, name in enumerate(names):
            self.text(x, y + 28 + 15 * number, name, "code soft", "middle")

    def svg(self) -> str:
        """Return the picture."""
        body = "\n".join(self.parts)
        return (
            f'<svg class="fs" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"
        )


def layers() -> Canvas:
    """Which package stands on which."""
    c = Canvas(404, "The layers: each may import what is below it")
    c.box(10, 10, 700, 36, "cli")
    c.box(10, 50, 280, 76, "testing", "the conformance kit")
    c.box(294, 50, 416, 36, "blocking")
    c.box(294, 90, 312, 36, "net", kind="mark")
    c.box(610, 90, 100, 36, "requests")
    c.box(10, 130, 138, 36, "registry")
    c.box(152, 130, 138, 36, "archives")
    c.box(294, 130, 416, 36, "stream", kind="mark")
    c.box(10, 170, 240, 128, "framers", "built in, or your own", kind="warm")
    c.box(254, 170, 266, 40, "iterate")
    c.box(254, 214, 266, 40, "decoder", kind="mark")
    c.box(254, 258, 266, 40, "buffer", kind="mark")
    c.box(524, 170, 186, 172, "transport", "sockets, pipes, TLS,", "the loop's own", kind="mark")
    c.box(10, 302, 510, 40, "framer", "the contract", kind="warm")
    c.box(10, 346, 700, 36, "errors")
    c.text(
        WIDTH / 2,
        400,
        "blue: bytes pass through here on their way to a frame · orange: what a framing is",
        "soft",
        "middle",
    )
    return c


def window() -> Canvas:
    """What `find` sees and answers, for three questions."""
    c = Canvas(432, "What find sees: indices in window.data, under the bytes")

    def row(y: float, title: str, cells: str, kinds: str, answer: str, *places: tuple[float, tuple[str, ...]]) -> None:
        c.text(10, y - 12, title, "strong")
        c.text(710, y - 12, answer, "code", "end")
        c.cells(30, y, cells.split(), kinds)
        for at, names in places:
            c.place(30 + 40 * at, y + 32, *names)

    row(
        40, "A length prefix: the end is known before the frame has arrived", "… 00 00 00 05 h e l l o",
        "bwwwwmmddd", "→ (1, 5, 10)",
        (1, ("start", "resume")), (5, ("payload_start",)), (7, ("", "len(data)")),
        (10, ("payload_stop", "next_start")),
    )  # fmt: skip
    row(
        170, "A line whose end has not arrived: \\r may be half of it", "… G E T ␣ / \\r",
        "bmmmmmw", "→ NeedMore(resume=6, settled=6)",
        (1, ("start", "resume")), (6, ("settled, resume",)), (7, ("", "len(data)")),
    )  # fmt: skip
    row(
        300, "The same line, asked again when more has arrived", "… G E T ␣ / \\r \\n H o s t",
        "bmmmmmwwbbbb", "→ (1, 6, 8)",
        (1, ("start", "payload_start")), (6, ("resume", "payload_stop")), (8, ("next_start",)),
        (12, ("len(data)",)),
    )  # fmt: skip
    x = 30
    for kind, name in [
        ("mark", "payload"),
        ("warm", "header or delimiter"),
        ("box", "other frames"),
        ("bare", "yet to arrive"),
    ]:
        c.parts.append(f'<rect x="{x}" y="408" width="16" height="14" class="{kind}"/>')
        c.text(x + 22, 420, name, "soft")
        x += 60 + 7 * len(name)
    return c


def decoder() -> Canvas:
    """The states of the frame that is being read."""
    c = Canvas(336, "The decoder: the states of the current frame")
    c.box(10, 20, 140, 44, "frames cut ahead", "by split, in batches")
    c.box(270, 20, 120, 44, "FRESH", "not looked at", kind="mark")
    c.box(480, 20, 120, 44, "SEARCHING", "NeedMore", kind="mark")
    c.box(590, 120, 120, 44, "KNOWN", "its extent", kind="mark")
    c.box(440, 206, 120, 44, "STREAMING", "in parts", kind="mark")
    c.box(270, 206, 120, 44, "SKIPPING", "thrown away", kind="warm")
    c.box(440, 280, 120, 44, "TRUNCATING", "beginning kept", kind="warm")
    c.box(10, 206, 140, 44, "BROKEN", "for good", kind="warm")
    c.arrow((270, 34), (150, 34), text="a run of one kind", at=(210, 28))
    c.arrow((150, 52), (270, 52), text="last one popped", at=(210, 68))
    c.arrow((390, 34), (480, 34), text="NeedMore", at=(435, 28))
    c.arrow((480, 52), (390, 52), text="padding", at=(435, 68))
    c.arrow((600, 42), (660, 42), (660, 120), text="a span", at=(632, 36))
    c.arrow((590, 134), (370, 134), (370, 64), text="delivered, when its end has arrived", at=(480, 128))
    c.arrow((660, 164), (660, 228), (560, 228), text="next_part", at=(612, 222))
    c.arrow((440, 228), (390, 228), text="skip", at=(415, 222))
    c.arrow((500, 206), (500, 172), (345, 172), (345, 64), text="last part", at=(422, 166))
    c.arrow((315, 206), (315, 64), text="all of it gone", at=(270, 140))
    c.arrow((695, 164), (695, 302), (560, 302), text="above the limit", at=(626, 296))
    c.arrow((440, 302), (330, 302), (330, 250), text="delivered", at=(385, 296))
    c.arrow((285, 64), (285, 100), (80, 100), (80, 206), text="FramingError", at=(180, 94))
    return c


def reading() -> Canvas:
    """The states of a stream's receiving half."""
    c = Canvas(250, "Receiving: who keeps the bytes")
    c.box(20, 40, 190, 60, "PAUSED", "the system keeps them;", "so the peer waits", kind="warm")
    c.box(300, 40, 170, 60, "FLOWING", "the transport pushes", "what arrives", kind="mark")
    c.box(300, 180, 170, 50, "ENDED", "end says how; for good")
    c.arrow((210, 58), (300, 58), text="a read waits", at=(255, 50))
    c.arrow((300, 84), (210, 84), text="64 KiB unread", at=(255, 102))
    c.arrow((385, 100), (385, 180))
    c.text(396, 130, "EOF, DRAINED, CLOSED, RESET,", "soft")
    c.text(396, 146, "TRUNCATED or FAILED", "soft")
    c.arrow((115, 100), (115, 205), (300, 205), text="close, reset", at=(205, 198))
    return c


def connection() -> Canvas:
    """From accept to closed, and what a drain does."""
    c = Canvas(430, "A connection, from accept to closed")
    c.box(20, 10, 170, 44, "accept", "up to max_connections", kind="mark")
    c.box(20, 84, 170, 44, "PROXY header, TLS", "if serve was asked to", kind="mark")
    c.box(20, 158, 170, 120, "handler", "reads, sends,", "waits", kind="mark")
    c.box(20, 308, 170, 44, "flush", "send what was written", kind="mark")
    c.box(20, 382, 170, 40, "closed")
    for top, bottom in [(54, 84), (128, 158), (278, 308), (352, 382)]:
        c.arrow((105, top), (105, bottom))
    c.text(200, 37, "others wait in the backlog", "soft")
    c.arrow((190, 106), (300, 106))
    c.text(308, 102, "refused or slower than handshake_timeout:", "soft")
    c.text(308, 118, "closed; peer_failures, handshake_failures", "soft")
    c.arrow((190, 176), (300, 176))
    c.text(308, 172, "raises: logged, counted as handler_failures;", "soft")
    c.text(308, 188, "what the peer broke counts as peer_failures", "soft")
    c.box(300, 206, 410, 100, kind="bare")
    c.text(312, 224, "the server drains", "strong")
    for number, (where, then) in enumerate([
        ("between two frames", "reads the end of the stream"),
        ("inside a frame", "may finish it, then the same"),
        ("nothing received yet", "0.5 s for the first byte"),
        ("after drain_timeout", "cancelled, then closed"),
    ]):  # fmt: skip
        c.text(312, 244 + 18 * number, where, "soft")
        c.text(490, 244 + 18 * number, then, "soft")
    c.arrow((300, 256), (190, 256))
    c.text(200, 326, "unread bytes are there: end this half first,", "soft")
    c.text(200, 342, "and linger for at most 2 s, so that the answer is not lost", "soft")
    c.text(200, 407, "its counters join the server's", "soft")
    return c


def split() -> Canvas:
    """An archive cut at any byte, a wrong guess, and where it is put right."""
    c = Canvas(318, "Splits of an archive, and how they are stitched together")
    borders, starts = (250, 470), [0, 62, 120, 214, 282, 330, 402, 452, 520, 570, 640, 700]
    c.text(10, 20, "The archive: frames of any size, cut into splits at any byte", "strong")
    for number, (left, right) in enumerate(pairwise(starts)):
        kind = ("mark", "warm", "box")[sum(left >= border for border in borders)]
        c.parts.append(f'<rect x="{10 + left}" y="34" width="{right - left}" height="34" class="{kind}"/>')
        c.text(10 + (left + right) / 2, 56, str(number + 1), "code", "middle")
    for border in borders:
        c.parts.append(f'<path d="M{10 + border},26V250" class="rule" stroke-dasharray="5 4"/>')

    def chain(y: float, places: Sequence[int], wrong: Sequence[int] = ()) -> None:
        c.parts.append(f'<path d="M{10 + places[0]},{y}H{10 + places[-1]}" class="arrow"/>')
        for place in places:
            kind = "warm" if place in wrong else "head"
            c.parts.append(f'<circle cx="{10 + place}" cy="{y}" r="5" class="{kind}"/>')

    chain(100, starts[:5])
    c.text(302, 104, "split 1 ends where frame 5 begins", "soft")
    chain(150, [262, 304, *starts[5:9]], wrong=[262, 304])
    c.text(246, 146, "split 2 guesses wrong,", "soft", "end")
    c.text(246, 162, "and meets the true chain at frame 6", "soft", "end")
    c.parts.append('<rect x="292" y="182" width="48" height="16" rx="3" class="mark"/>')
    c.arrow((292, 106), (292, 182))
    c.arrow((340, 182), (340, 156))
    c.text(350, 195, "walked again", "soft")
    chain(226, starts[8:])
    c.text(466, 230, "split 3 guesses right: it begins where split 2 ends", "soft", "end")
    for number, line in enumerate([
        "Stitching compares where a split ends with where the next one began. If they differ, it walks from",
        "the true place until it meets a start that the later split knows: exact for every framing.",
    ]):  # fmt: skip
        c.text(10, 282 + 18 * number, line, "soft")
    return c


def cut() -> Canvas:
    """The output of two commands, as a terminal shows it."""
    commands = [
        ("line", "redis-replies.bin", "--count 4"),
        ("length-prefix:size=2", "bind9-dns.bin", "--count 1 --output hex"),
    ]
    lines: list[tuple[str, str]] = []
    for framer, capture, options in commands:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as printed:
            run(["cut", framer, str(CAPTURES / capture), *options.split()])
        lines.append((f"$ framestream cut {framer} {capture} {options}", "code strong"))
        lines += [(line, "code") for line in [*printed.buffer.getvalue().decode().splitlines(), ""]]
    c = Canvas(30 + 19 * (len(lines) - 1), "framestream cut, on what real programs sent")
    c.box(1, 1, WIDTH - 2, c.height - 2)
    for number, (line, kind) in enumerate(lines[:-1]):
        c.text(18, 30 + 19 * number, line, kind)
    return c


PICTURES: Sequence[Callable[[], Canvas]] = (layers, window, decoder, reading, connection, split, cut)


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    for picture in PICTURES:
        (FOLDER / f"{picture.__name__}.svg").write_text(picture().svg())


if __name__ == "__main__":
    main()
