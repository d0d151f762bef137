"""The compiler's door for `rating` and for `ingest`, which may not import `tariffs`."""

from tariffs.jit import jit

__all__ = ["jit"]
