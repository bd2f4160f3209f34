"""The ``framestream`` command, and ``python -m framestream``."""

from __future__ import annotations

import os
import sys

_MISSING = """\
framestream: the command line needs click, which is not installed
hint: pip install click"""


def main() -> int:
    """Run the command line and return its exit status; if it cannot run, say what to install."""
    if os.getpid() == 1:  # of a container: the system keeps signals from it that it does not handle
        import signal  # noqa: PLC0415  # others do without

        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    # A shell can close them (0<&-): the next socket would get their number.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, file := open(os.devnull, mode))  # noqa: SIM115  # for as long as we run
            os.set_inheritable(file.fileno(), True)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # it is a file, or it has none
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


if __name__ == "__main__":
    sys.exit(main())
