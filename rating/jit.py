"""The compiler's door for `rating` and for `ingest`, which may not import `tariffs`."""

from tariffs.jit import jit, jit_once

__all__ = ["jit", "jit_once"]
