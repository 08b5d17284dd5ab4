"""Pixels of image extensions as arrays a computation can use, and planes that agree."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from skytool.core.mapped import forget, is_mapped
from skytool.errors import IncompatibleError, InputError, SkytoolError
from skytool.models.mask import Mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io import fits
    from numpy.typing import NDArray

Plane = TypeVar("Plane", bound="NDArray[Any]")

_ROWS = 32  # rows that are compared at once: they stay in the cache of the processor


def extension_name(name: str, label: str | int) -> str:
    """Return what messages call an extension of a file, of which another one may be named."""
    file = name.rpartition("[")[0] if name.endswith("]") else name
    return f"{file}[{label}]"


@contextmanager
def damage_errors(called: str) -> Iterator[None]:
    """Turn whatever astropy raises for bytes it cannot take apart into an `InputError`.

    Parameters
    ----------
    called : str
        What messages call the extension that is read within the block, and nothing else is done.
    """
    try:
        yield
    except SkytoolError:
        raise
    except MemoryError as error:
        raise InputError(f"{called} does not fit into the memory.") from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{called} is damaged: {reason.rstrip('.')}.") from error


def image_array(hdu: fits.ImageHDU, *, name: str = "", ndim: int = 2) -> NDArray[np.float32]:
    """Return the pixels of an image extension as float32 of this machine's byte order.

    Integers are scaled by BSCALE and BZERO; pixels equal to BLANK or ZBLANK become NaN, values
    that float32 cannot hold become infinite. Axes of length 1 beyond the wanted number are
    dropped. The pixels are taken out of ``hdu``, which reads them again if it is asked again
    while its file is open.

    Parameters
    ----------
    hdu : image HDU
        Extension of an open file.
    name : str
        What messages call it.
    ndim : int
        Number of axes wanted.

    Returns
    -------
    ndarray of float32, shape (ny, nx), or as many axes as wanted
        Pixels, C-contiguous and writeable.

    Raises
    ------
    InputError
        If the extension holds no image, or one without pixels or with other axes, or is damaged.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(_native(_pixels(hdu, name, ndim), np.dtype(np.float32)))


def double_array(hdu: fits.ImageHDU, *, name: str = "", ndim: int = 2) -> NDArray[np.float64]:
    """Return the values of an image extension, as `image_array` does, but as float64."""
    return np.asarray(_native(_pixels(hdu, name, ndim), np.dtype(np.float64)))


def integer_array(hdu: fits.ImageHDU, *, name: str = "", ndim: int = 2) -> NDArray[np.integer]:
    """Return the pixels of an extension of flags or counts in this machine's byte order.

    Integers keep their type; whole floating-point numbers, which some programs write, become
    int64. Arguments and errors are those of `image_array`.

    Raises
    ------
    InputError
        Also if a pixel is not a whole number.
    """
    pixels = _pixels(hdu, name, ndim)
    if pixels.dtype.kind in "iu":
        return np.asarray(_native(pixels, pixels.dtype.newbyteorder("=")))
    with np.errstate(invalid="ignore"):
        whole = pixels.astype(np.int64)
    if not np.array_equal(whole, pixels):
        raise InputError(f"{_called(hdu, name)} holds fractions, not flags.")
    return whole


def agreeing_planes(
    image: NDArray[np.float32], mask: Mask, variance: NDArray[np.float32], *, name: str
) -> tuple[NDArray[np.float32], Mask, NDArray[np.float32]]:
    """Return planes in which NaN, NO_DATA and infinite variance are the same pixels.

    A pixel has no value if its image is not finite, its mask says NO_DATA, or its variance is
    not a positive finite number; all three planes then say so. Planes that need no change are
    returned as they are, others are copied.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Pixel values [unit].
    mask : Mask
        Named planes, same shape.
    variance : ndarray of float32, shape (ny, nx)
        Variance [unit squared].
    name : str
        What messages call the exposure.

    Raises
    ------
    IncompatibleError
        If there are values but nowhere a variance: taking all values away would hide that.
    """
    declared = mask.with_planes(["NO_DATA"])
    bit = declared.bitmask(["NO_DATA"])
    out_image, out_bits, out_variance = image, mask.array, variance
    any_valued = any_valid = False
    for rows in _some_rows(image):
        no_data = (mask.array[rows] & bit) != 0
        valued = np.isfinite(image[rows]) & ~no_data
        # comparisons with NaN are False, so that one pair of them also finds NaN and infinity
        valid = valued & (variance[rows] > 0) & (variance[rows] < np.inf)
        n_empty = valid.size - np.count_nonzero(valid)
        any_valued = any_valued or bool(valued.any())
        any_valid = any_valid or n_empty < valid.size
        if n_empty:
            empty = ~valid
            # what is marked in any plane is empty: if there are as many, they are the same
            if np.count_nonzero(no_data) < n_empty:
                out_bits = _own(out_bits, mask.array)
                out_bits[rows][empty] |= bit
            if np.count_nonzero(np.isnan(image[rows])) < n_empty:
                out_image = _own(out_image, image)
                out_image[rows][empty] = np.nan
            if np.count_nonzero(variance[rows] == np.inf) < n_empty:
                out_variance = _own(out_variance, variance)
                out_variance[rows][empty] = np.inf
        for plane in (image, mask.array, variance):
            forget(plane[rows])
    if any_valued and not any_valid:
        raise IncompatibleError(
            f"{name} has values but no variance anywhere.",
            hint="Give a variance, a weight, an error or a gain.",
        )
    if out_bits is not mask.array:
        mask = Mask(out_bits, declared.bits)
    return out_image, mask, out_variance


def _own(plane: Plane, given: Plane) -> Plane:
    """Return a plane that may be changed: a copy of the one given, made once."""
    return plane.copy() if plane is given else plane


def flag_unexplained(image: NDArray[np.float32], mask: Mask) -> Mask:
    """Return a mask in which NaN without any flag is NO_DATA and UNMASKEDNAN.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Pixel values as they were read.
    mask : Mask
        Named planes, same shape.
    """
    if not any(np.isnan(image[rows]).any() for rows in _some_rows(image)):
        return mask
    unexplained = np.isnan(image) & (mask.array == 0)
    if not unexplained.any():
        return mask
    return mask.with_flagged(unexplained, "NO_DATA", "UNMASKEDNAN")


def _some_rows(plane: NDArray[Any]) -> Iterator[slice]:
    """Yield the rows of a plane, so many at a time that intermediate results stay small."""
    return (slice(start, start + _ROWS) for start in range(0, plane.shape[0], _ROWS))


def _pixels(hdu: fits.ImageHDU, name: str, ndim: int) -> NDArray[np.generic]:
    """Return the pixels of an extension with the wanted number of axes, as astropy has them."""
    called = _called(hdu, name)
    if not getattr(hdu, "is_image", False):
        raise InputError(f"{called} holds a table, not an image.")
    with damage_errors(called):
        axes = tuple(int(length) for length in hdu.shape)
    if not axes:
        raise InputError(f"{called} holds no pixels.", hint="Name another extension: FILE[EXT].")
    size = " x ".join(str(length) for length in axes)
    if 0 in axes:
        raise InputError(f"{called} holds an image of {size} pixels.")
    wanted = list(axes)
    while len(wanted) > ndim and 1 in wanted:
        wanted.remove(1)
    if len(wanted) != ndim:
        raise InputError(f"{called} has {len(axes)} axes, {size}, not {ndim}.")
    with damage_errors(called):
        data = hdu.data
        del hdu.data
    if data is None or data.shape != axes:
        raise InputError(f"{called} is damaged: its pixels are not {size}.")
    return np.asarray(data).reshape(wanted)


def _native(array: NDArray[np.generic], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return an array of a native type; one that has the right bits is swapped where it is.

    Pixels that are mapped to a file are copied: astropy maps a file once, and gives out the same
    bytes whenever it is asked for an extension again.
    """
    if array.dtype.newbyteorder("=") != dtype:
        return array.astype(dtype)
    if not (array.flags.writeable and array.flags.c_contiguous) or is_mapped(array):
        return np.array(array, dtype=dtype)
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype)
    return array


def _called(hdu: fits.ImageHDU, name: str) -> str:
    return name or (f"extension {hdu.name}" if hdu.name else "the extension")
