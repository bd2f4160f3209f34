"""The place of tornado.iostream in sys.modules: Tornado's own module or ours."""

from __future__ import annotations

import sys
from importlib import import_module

NAME = "tornado.iostream"


class Place:
    """One module's place among the imported ones.

    Attributes:
        taken: this package's module is there, or is about to be.
    """

    taken = False

    def take(self) -> None:
        """Put `framestream_tornado.iostream` there, for the whole process.

        Call it before anything of Tornado is imported. Calling it again does nothing.

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
