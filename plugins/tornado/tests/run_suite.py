"""Run one of Tornado's own suites, over its own streams or over the stand-in.

    python run_suite.py {original,stand-in} SUITE [arguments of unittest]

What Tornado's tests reach for that is private is put there by this script and not by the package.
"""

from __future__ import annotations

import sys
import unittest

# Tests of iostream_test that cannot pass, each with the reason.
PRIVATE = {
    "TestStreamBuffer": "tests _StreamBuffer, Tornado's own write buffer",
    "test_read_until_close_with_error": "replaces a step of Tornado's own reads, _try_inline_read",
}


def main() -> None:
    which, suite, *arguments = sys.argv[1:]
    if which == "stand-in":
        import framestream_tornado  # noqa: PLC0415

        framestream_tornado.install()
        prepare(sys.modules["tornado.iostream"])
    from tornado.test import runtests  # noqa: PLC0415

    if which == "stand-in":
        leave_out_private_tests(suite)
    sys.argv = ["runtests", f"tornado.test.{suite}", *arguments]
    runtests.main()


def prepare(iostream) -> None:
    """Let the tests be imported, and those look at an attribute that do nothing with it."""
    iostream._StreamBuffer = object
    iostream.BaseIOStream._write_buffer = None


def leave_out_private_tests(suite: str) -> None:
    if suite != "iostream_test":
        return
    from tornado.test import iostream_test  # noqa: PLC0415

    for name, value in vars(iostream_test).copy().items():
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            for private, reason in PRIVATE.items():
                if name == private:
                    setattr(iostream_test, name, unittest.skip(reason)(value))
                elif hasattr(value, private):
                    setattr(value, private, unittest.skip(reason)(getattr(value, private)))


if __name__ == "__main__":
    main()
