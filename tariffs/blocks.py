"""Blocks: many arrays behind one array of addresses, for compiled code.

Compiled functions that took dozens of arrays each would take minutes to compile and copy hundreds
of words at every call. So the arrays of a part of the program (the compiled books, the state) are
bound to places of one int64 array, and a compiled function that is given that block makes a view
of the array it wants. Plain counts stand in the block itself. The block keeps its arrays alive;
binding a longer array to a place is how a table grows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray


@intrinsic
def _pointer(_context: Any, address: Any) -> Any:
    """An int64 address as the pointer that `numba.carray` wants."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        from llvmlite import ir  # noqa: PLC0415 - only the compiler needs it

        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


@intrinsic
def _borrowed(_context: Any, array: Any) -> Any:
    """The same array without an owner."""

    def generate(target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        from numba.core import cgutils  # noqa: PLC0415 - only the compiler needs it

        structures: Any = cgutils
        view = structures.create_struct_proxy(array)(target, builder, value=arguments[0])
        for owner in ("meminfo", "parent"):
            setattr(view, owner, structures.get_null_value(getattr(view, owner).type))
        return view._getvalue()  # noqa: SLF001 - how the compiler's own code does it

    return array(array), generate


# Numba has no types: these are called by compiled code alone.
pointer: Any = _pointer
# Compiled code counts an array's users at every call that passes it on, in steps that all cores
# must agree on: a quarter of the core's time. What the caller keeps alive need not be counted.
borrowed: Any = _borrowed
carray: Any = numba.carray  # type: ignore[attr-defined]


class Block:
    """Arrays bound to places. `places` is what compiled functions take."""

    def __init__(self, size: int) -> None:
        self.places: NDArray[np.int64] = np.zeros(size, np.int64)
        self._arrays: dict[int, NDArray[Any]] = {}

    def bind(self, place: int, array: NDArray[Any]) -> None:
        """Put an array's address at `place` and its length behind it."""
        assert array.flags.c_contiguous
        self._arrays[place] = array
        self.places[place] = array.ctypes.data
        self.places[place + 1] = array.size

    def array(self, place: int) -> Any:
        """The array bound to a place."""
        return self._arrays[place]
