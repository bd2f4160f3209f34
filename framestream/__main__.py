"""The ``framestream`` command, and ``python -m framestream``."""

from __future__ import annotations

import os
import sys

_MISSING = """\
framestream: the command line needs click, which is not installed
hint: pip install click"""


def main() -> int:
    """Run the command line and return its exit status; if it cannot run, say what to install."""
    _fill_standard_descriptors()
    try:
        from framestream.cli import run  # noqa: PLC0415  # the extra "cli" may be missing

        return run(sys.argv[1:])
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(_MISSING, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _fill_standard_descriptors() -> None:
    """Open the descriptors the shell has closed (``1>&-``): the next socket would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # for as long as we run
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    sys.exit(main())
