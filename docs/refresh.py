#!/usr/bin/env python3
"""Write the tables of the documentation anew from what they describe.

A table stands between two comments, ``<!-- options of line -->`` or ``<!-- captures -->`` in front and
``<!-- end -->`` behind it. Run this after changing an option or recording a capture; a test tells when it
is due.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from framestream.registry import plugins
from framestream.registry.options import options_of

ROOT = Path(__file__).parents[1]
TABLE = re.compile(r"(<!-- (captures|options of ([a-z-]+)) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def options(framer: str) -> str:
    """Return the table of a framer's options."""
    rows = ["| option | takes | default | meaning |", "|---|---|---|---|"]
    for option in options_of(plugins.find(framer)[0]):
        default = f"`{option.default_text}`" if option.default_text else "required" if option.required else ""
        rows.append(f"| `{option.key}` | {option.takes} | {default} | {option.help} |")
    return "\n".join(rows)


def captures() -> str:
    """Return the table of captures: a row for each spec string that cuts one."""
    rows = ["| capture | program | spec string | frames |", "|---|---|---|---:|"]
    for entry in json.loads((ROOT / "examples" / "captures" / "index.json").read_text()):
        # A Debian version without its epoch and its revision: 5:7.0.15-1~deb12u10 is 7.0.15.
        version = re.sub(r"^\d+:|(\+dfsg)?-[^-]*$", "", entry["version"])
        start = f"| `{entry['name']}` | {entry['package']} {version}"
        rows += [f"{start} | `{cut['spec']}` | {cut['frames']} |" for cut in entry["cuts"]]
    return "\n".join(rows)


def refreshed(page: str) -> str:
    """Return the text of a page with every table written anew."""

    def table(found: re.Match[str]) -> str:
        return found[1] + (options(found[3]) if found[3] else captures()) + found[4]

    return TABLE.sub(table, page)


def main() -> None:
    """Rewrite the pages whose tables are out of date, and name them."""
    for path in [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]:
        page = path.read_text()
        if page != refreshed(page):
            path.write_text(refreshed(page))
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
