"""What the site needs beyond its plugins: pictures stand in the page, so that they follow its colours.

A page shows ``![what it shows](pictures/NAME.svg)``, which any Markdown viewer does, too. In the site, the
picture itself takes the place of the link: its texts can be searched, and it turns dark with the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).parent / "pictures"
_IMAGE = re.compile(r'<p><img alt="([^"]*)" src="[^"]*pictures/([\w-]+\.svg)" ?/?></p>')


def on_page_content(html: str, **_: Any) -> str:
    """Put the drawings into the page; a phone scrolls them sideways."""

    def inlined(found: re.Match[str]) -> str:
        drawing = (PICTURES / found[2]).read_text()
        return f'<div class="picture" role="img" aria-label="{found[1]}" tabindex="0">{drawing}</div>'

    return _IMAGE.sub(inlined, html)
