"""Read this package's docstrings as Markdown: a colon twice at the end of a line announces code.

mkdocstrings loads this when it builds the reference. All other marks mean the same in both.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ANNOUNCED = re.compile(r"^( *)(.*?)::$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring once, before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Replace ``text::`` by ``text:``, and a line of nothing but ``::`` by nothing."""
        if obj.docstring:
            obj.docstring.value = _ANNOUNCED.sub(
                lambda found: f"{found[1]}{found[2]}:" if found[2] else "", obj.docstring.value
            )
