"""How this copy of the package was built."""

from __future__ import annotations

from typing import Final

from framestream import decoder

# An extension module is found before the Python module of the same name that lies beside it.
COMPILED: Final = not str(decoder.__file__).endswith(".py")
"""True if what every frame passes through is compiled, see docs/how-to/compile.md."""
