"""Kinds of arguments: spec strings, sizes, text with escapes."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from framestream.errors import SpecError
from framestream.registry.grammar import Word
from framestream.registry.options import Takes

if TYPE_CHECKING:
    _Kind = click.ParamType[Any]
else:
    _Kind = click.ParamType  # generic since click 8.4 only


class _Spelled(_Kind):
    """A value as options in spec strings spell it."""

    def __init__(self, name: str, hint: type) -> None:
        self.name = name
        self._hint = hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, or refuse it as a usage mistake."""
        try:
            return Takes(self._hint).convert(Word(value))
        except SpecError as error:
            self.fail(str(error), param, ctx)


class _Spec(_Kind):
    """A spec string; its names complete in the shell."""

    name = "spec"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the framers that begin so."""
        from framestream.registry.lookup import plugins  # noqa: PLC0415

        return [CompletionItem(name) for name in plugins.names() if name.startswith(incomplete)]


class _Size(_Spelled):
    """A number of bytes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or refuse it as a usage mistake."""
        size = super().convert(value, param, ctx)
        if size < 0:
            self.fail(f"{value!r} is no size: it is negative", param, ctx)
        return size


class _Seconds(click.FloatRange):
    """A number of seconds that a clock can count."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or refuse it as a usage mistake."""
        seconds = super().convert(value, param, ctx)
        if not isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


SPEC = _Spec()
SIZE = _Size("size", int)
SECONDS = _Seconds(min=0)
ESCAPED = _Spelled("text", bytes)
