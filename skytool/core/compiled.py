"""The one way to compile a loop that numpy cannot express.

Import modules that use this inside functions: loading the compiler costs a third of a second.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., object]")


def _load_without_blas() -> None:
    """Load numba's array functions without scipy.linalg.

    numba imports scipy.linalg, 0.3 s of CPU time, only to learn whether a BLAS is there, and goes
    on without when the import fails. No compiled loop here calls one: matrix products are numpy's.
    """
    if "scipy.linalg" in sys.modules or "numba.np.arraymath" in sys.modules:
        return
    modules = cast("dict[str, object]", sys.modules)
    modules["scipy.linalg"] = None  # makes the import fail, as if scipy were not installed
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del modules["scipy.linalg"]


_load_without_blas()


def compiled(function: Function) -> Function:
    """Return `function` compiled at its first call, kept on disk, free of the interpreter lock.

    Sums may be reordered to use vector units, so results are the same on one machine but may
    differ in the last digit between processors. Infinities and NaN keep their meaning.
    """
    decorate = numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
    return cast("Function", decorate(function))


def compiled_in_order(function: Function) -> Function:
    """Return `function` compiled as `compiled` does, but with sums in the order written.

    For loops whose innermost sum is too short for vector units, where a change of the order only
    costs time, and for results that must not depend on where a loop over pixels starts.
    """
    decorate = numba.njit(cache=True, nogil=True, fastmath={"contract"})
    return cast("Function", decorate(function))
