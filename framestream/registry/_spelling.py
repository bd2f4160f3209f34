"""The likeliest spelling of a mistyped word."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, among: Iterable[str]) -> str | None:
    """Return the likeliest spelling of a mistyped word, or None."""
    # Imported when somebody has made a mistake; then a millisecond does not matter.
    from difflib import get_close_matches  # noqa: PLC0415

    close = get_close_matches(word, list(among), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, among: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the likeliest spelling, or nothing."""
    close = nearest(word, among)
    return f"; did you mean {close!r}?" if close else ""
