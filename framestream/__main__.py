"""The ``framestream`` command, and ``python -m framestream``."""

from __future__ import annotations

import sys

_MISSING = """\
framestream: the command line needs {name}, which is not installed
hint: pip install 'framestream[cli]'"""


def main() -> int:
    """Run the command line and return its exit status; say what to install if it cannot run."""
    try:
        from framestream.cli import run  # noqa: PLC0415  # the extra "cli" may be missing
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        print(_MISSING.format(name=error.name), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
