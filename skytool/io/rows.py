"""Some rows of many exposures at a time, so that all of them need not be in memory."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import InputError
from skytool.io.filespec import FileSpec
from skytool.io.fits import opened
from skytool.models.exposure import Exposure
from skytool.models.exposure_hdus import PLANE_NAMES
from skytool.models.mask import Mask
from skytool.models.pixels import damage_errors, extension_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from astropy.io import fits

    from skytool.io.sources import ExposureSource

    Rows = Callable[[int, int, int], Exposure]

_KEPT_OPEN = 64  # files; a process may have a thousand, of which others need some
_MAGIC = b"SIMPLE"


@contextmanager
def exposure_rows(sources: Sequence[ExposureSource]) -> Iterator[Rows]:
    """Read rows of exposures within a ``with`` block.

    Of files of skytool only the rows that are asked for are read; those of others, of which a
    variance or mask is made from whole images, are read whole each time, and so are compressed
    files.

    Parameters
    ----------
    sources : sequence of ExposureSource
        The exposures.

    Yields
    ------
    function
        ``rows(index, start, stop)``: image, mask and variance of the rows of an exposure, by its
        place in ``sources``. A pixel may have a value in one plane and not in another.

    Raises
    ------
    InputError
        If a file cannot be read or a plane is damaged.
    IncompatibleError
        As `~skytool.io.sources.ExposureSource.read`.
    """
    with ExitStack() as stack:
        files: dict[int, fits.HDUList] = {}

        def rows(index: int, start: int, stop: int) -> Exposure:
            source = sources[index]
            if not has_sections(source):
                return rows_of(source.read(), start, stop)
            if index in files:
                return _section(files[index], source, start, stop)
            spec = FileSpec(source.path)
            if len(files) < _KEPT_OPEN:
                files[index] = stack.enter_context(opened(spec))
                return _section(files[index], source, start, stop)
            with opened(spec) as hdus:
                return _section(hdus, source, start, stop)

        yield rows


def has_sections(source: ExposureSource) -> bool:
    """Return whether rows of the planes lie in the file as they are wanted."""
    recipe, options = source.recipe, source.options
    replaced = (
        recipe.mask.plane is not None
        or bool(recipe.variance.planes)
        or options.noise_from_sky
        or options.gain is not None
        or options.saturate is not None
    )
    if not recipe.native or replaced or not source.path.is_file():
        return False
    try:
        with source.path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise InputError(f"{source.path} cannot be read: {error.strerror}.") from error


def rows_of(exposure: Exposure, start: int, stop: int) -> Exposure:
    """Return image, mask and variance of some rows of an exposure that is in memory."""
    return Exposure(
        image=exposure.image[start:stop],
        mask=Mask(exposure.mask.array[start:stop], exposure.mask.bits),
        variance=exposure.variance[start:stop],
        name=exposure.name,
    )


def _section(hdus: fits.HDUList, source: ExposureSource, start: int, stop: int) -> Exposure:
    """Return rows of the planes of an open file of skytool."""
    image, mask, variance = (hdus[name] for name in PLANE_NAMES)
    with damage_errors(source.name):
        pixels, flags, squares = (hdu.section[start:stop] for hdu in (image, mask, variance))
    return Exposure(
        image=np.asarray(pixels, dtype=np.float32),
        mask=Mask.from_array(flags, mask.header, name=extension_name(source.name, "MASK")),
        variance=np.asarray(squares, dtype=np.float32),
        name=source.name,
    )
