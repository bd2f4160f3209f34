#!/usr/bin/env python3
"""Record the captures in examples/captures from real programs.

Each program is started on a free port of the loopback interface, in an empty folder, is talked to, and
is ended. What it sent is written to NAME.bin exactly as received, and examples/captures/index.json says
what it is, which package sent it, which spec string cuts it, and how many frames there are.

The programs come from Debian: plugins/install_peers.sh installs them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from recorder.programs import MissingProgram, find_program
from recorder.recipe import RECIPES, Recipe

CAPTURES = Path(__file__).with_name("captures")

for group in ("databases", "messaging", "names", "tools", "web"):
    importlib.import_module(f"recorder.{group}")


def version_of(package: str) -> str:
    """Return the installed version of a Debian package, or "unknown" elsewhere."""
    try:
        query = ["dpkg-query", "-W", "-f=${Version}", package]
        return subprocess.run(query, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe(recipe: Recipe, data: bytes) -> dict[str, Any]:
    """Return the index entry. Raise ``ValueError`` if the bytes stop in the middle of a frame."""
    return {
        "name": recipe.name,
        "program": recipe.program,
        "package": recipe.package,
        "version": version_of(recipe.package),
        "recorded": recipe.story,
        "bytes": len(data),
        "cuts": [{"spec": spec, "frames": len(cut(data))} for spec, cut in recipe.cuts.items()],
    }


def record(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Make one capture, write it, and return its index entry."""
    find_program(recipe.program)
    with tempfile.TemporaryDirectory(prefix="capture-") as workshop:
        os.chmod(workshop, 0o755)  # programs that drop their privileges must be able to enter
        data = recipe.record(Path(workshop))
    entry = describe(recipe, data)
    (folder / f"{recipe.name}.bin").write_bytes(data)
    return entry


def read_index(folder: Path) -> dict[str, dict[str, Any]]:
    index = folder / "index.json"
    return {entry["name"]: entry for entry in json.loads(index.read_text())} if index.exists() else {}


def write_index(folder: Path, entries: dict[str, dict[str, Any]]) -> None:
    ordered = [entries[name] for name in sorted(entries)]
    (folder / "index.json").write_text(json.dumps(ordered, indent=2) + "\n")


def record_all(recipes: list[Recipe], folder: Path) -> int:
    """Record each, report each on a line, and return how many failed."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = read_index(folder)
    failures = 0
    for recipe in recipes:
        try:
            entries[recipe.name] = record(recipe, folder)
        except MissingProgram as missing:
            problem = f"{missing}; try: apt-get install {recipe.package}"
        except (OSError, EOFError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            problem = f"failed: {error!r}"
        else:
            print(f"{recipe.name}: {entries[recipe.name]['bytes']} bytes")
            write_index(folder, entries)
            continue
        failures += 1
        print(f"{recipe.name}: {problem}", file=sys.stderr)
    return failures


def main() -> int:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    option = parser.add_argument
    option("--only", metavar="NAME", action="append", choices=sorted(RECIPES), help="record this one")
    option("--list", action="store_true", help="list the captures and their packages, and stop")
    option("--to", type=Path, default=CAPTURES, metavar="FOLDER", help="write here (examples/captures)")
    options = parser.parse_args()
    if options.list:
        for name in sorted(RECIPES):
            print(f"{name:20} {RECIPES[name].package:28} {RECIPES[name].story}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the programs are ended
    return min(record_all([RECIPES[name] for name in options.only or sorted(RECIPES)], options.to), 1)


if __name__ == "__main__":
    sys.exit(main())
