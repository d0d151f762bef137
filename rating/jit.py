"""The compiler's door for `rating` and for `ingest`, which may not import `tariffs`."""

from tariffs.jit import int64, jit, jit_once, locked

__all__ = ["int64", "jit", "jit_once", "locked"]
