"""Fourier transforms of real planes in the precision they come in.

The transforms are those of scipy. Importing scipy.fft also loads what knows other kinds of arrays and
special functions, for 0.3 s of CPU time, and every call passes a choice of back ends; the compiled
module beneath it needs nothing but numpy, so it is loaded alone. Where a release of scipy has it
elsewhere, scipy.fft serves.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

_MODULE = "scipy.fft._pocketfft.pypocketfft"
_PLAIN, _BY_SIZE = 0, 2  # factors on a result: one, and one over the number of values


def _load() -> ModuleType | None:
    """Return the compiled transforms, under the name that scipy finds them by; None without them."""
    if _MODULE in sys.modules:
        return sys.modules[_MODULE]
    scipy = importlib.util.find_spec("scipy")
    places = [] if scipy is None else list(scipy.submodule_search_locations or [])
    found = PathFinder.find_spec(_MODULE, [f"{place}/fft/_pocketfft" for place in places])
    if found is None or found.loader is None:
        return None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    if not all(hasattr(module, name) for name in ("c2c", "r2c", "c2r", "good_size")):
        return None
    sys.modules[_MODULE] = module
    return module


_compiled = _load()


def next_fast_len(length: int) -> int:
    """Return the shortest length of a fast transform of real values that is not below another."""
    if _compiled is None:
        import scipy.fft

        return int(scipy.fft.next_fast_len(length, real=True))
    return int(_compiled.good_size(length, True))


def rfft(values: NDArray[Any], *, n: int | None = None) -> NDArray[Any]:
    """Return the transform of real values along the last axis, padded with zeros to length `n`."""
    values = _padded(values, (values.shape[-1] if n is None else n,))
    if _compiled is None:
        import scipy.fft

        return np.asarray(scipy.fft.rfft(values))
    return np.asarray(_compiled.r2c(values, (values.ndim - 1,), True, _PLAIN, None, 1))


def irfft(spectrum: NDArray[Any], *, n: int) -> NDArray[Any]:
    """Return the `n` real values along the last axis that have a transform."""
    if _compiled is None:
        import scipy.fft

        return np.asarray(scipy.fft.irfft(spectrum, n=n))
    axes = (spectrum.ndim - 1,)
    return np.asarray(_compiled.c2r(spectrum, axes, n, False, _BY_SIZE, None, 1))


def transform_columns(spectrum: NDArray[Any], *, inverse: bool = False) -> NDArray[Any]:
    """Return complex values, which are overwritten, transformed along the first axis."""
    if _compiled is None:
        import scipy.fft

        change = scipy.fft.ifft if inverse else scipy.fft.fft
        return np.asarray(change(spectrum, axis=0, overwrite_x=True))
    factor = _BY_SIZE if inverse else _PLAIN
    return np.asarray(_compiled.c2c(spectrum, (0,), not inverse, factor, spectrum, 1))


def rfft2(values: NDArray[Any], *, s: tuple[int, int] | None = None) -> NDArray[Any]:
    """Return the transforms of real planes in the last two axes, padded with zeros to a shape."""
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    values = _padded(values, values.shape[-2:] if s is None else s)
    if _compiled is None:
        import scipy.fft

        return np.asarray(scipy.fft.rfft2(values))
    axes = (values.ndim - 2, values.ndim - 1)
    return np.asarray(_compiled.r2c(values, axes, True, _PLAIN, None, 1))


def irfft2(spectra: NDArray[Any], *, s: tuple[int, int]) -> NDArray[Any]:
    """Return the real planes of a shape, in the last two axes, that have transforms."""
    if _compiled is None:
        import scipy.fft

        return np.asarray(scipy.fft.irfft2(spectra, s=s))
    axes = (spectra.ndim - 2, spectra.ndim - 1)
    return np.asarray(_compiled.c2r(spectra, axes, s[1], False, _BY_SIZE, None, 1))


def _padded(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return values with zeros after them along the last axes."""
    own = values.shape[-len(shape) :]
    if own == tuple(shape):
        return values
    out = np.zeros((*values.shape[: -len(shape)], *shape), values.dtype)
    part = tuple(slice(length) for length in values.shape)
    out[part] = values
    return out
