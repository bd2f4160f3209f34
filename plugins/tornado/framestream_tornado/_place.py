"""The place of tornado.iostream: whose module Tornado finds there."""

from __future__ import annotations

import sys
from importlib import import_module

NAME = "tornado.iostream"


class Place:
    """One module's place among the imported ones.

    Attributes:
        taken: this package's module stands there, or is about to.
    """

    taken = False

    def take(self) -> None:
        """Put `framestream_tornado.iostream` there, for the whole process.

        Call it before anything of Tornado's is imported. Calling it again does nothing.

        Raises:
            RuntimeError: tornado.iostream is imported already.
        """
        if self.taken:
            return
        if NAME in sys.modules:
            raise RuntimeError(f"{NAME} is imported already: call install() before anything of Tornado's is")
        self.taken = True
        module = sys.modules[NAME] = import_module("framestream_tornado.iostream")
        import_module("tornado").iostream = module  # type: ignore[attr-defined]  # as an import would do


place = Place()
