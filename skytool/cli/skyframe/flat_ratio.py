"""The ratio of two flats that ``skytool skyframe apply`` multiplies exposures with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.errors import IncompatibleError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from skytool.cli.members import Member

_LARGEST = 10.0  # ratio of two flats, on average; far from it the image is something else


def ratio_file(pattern: str | None, member: Member) -> str | None:
    """Return the file of the ratio for a detector, None without one."""
    return None if pattern is None else pattern.replace("{detector}", member.detector)


def flat_ratio(pattern: str | None, member: Member) -> NDArray[np.float32] | None:
    """Return the image that a detector is multiplied with, None without one.

    Raises
    ------
    InputError
        If it cannot be read, or its values are not those of a ratio.
    IncompatibleError
        If its shape is not that of the exposure.
    """
    name = ratio_file(pattern, member)
    if name is None:
        return None
    import numpy as np

    from skytool.io.filespec import FileSpec
    from skytool.io.fits import image_array, opened, selected

    spec = FileSpec.parse(name)
    with opened(spec) as hdus:
        images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and len(hdu.shape) == 2]
        if spec.extension is None and not images:
            raise InputError(f"{spec} holds no image.")
        hdu = images[0] if spec.extension is None else selected(hdus, spec)
        ratio = image_array(hdu, name=str(spec))
    if ratio.shape != member.source.shape:
        raise IncompatibleError(
            f"{spec} has {ratio.shape[1]} x {ratio.shape[0]} pixels, {member.source.name} "
            f"{member.source.shape[1]} x {member.source.shape[0]}."
        )
    good = np.isfinite(ratio) & (ratio > 0)
    count = int(np.count_nonzero(good))
    typical = float(np.median(ratio[good])) if count else 0.0
    if 2 * count < good.size or not 1 / _LARGEST < typical < _LARGEST:
        raise InputError(
            f"{spec} is no ratio of two flats: {count} of {good.size} pixels are positive, with a "
            f"median of {typical:.4g}.",
            hint="Its values should be about 1.",
        )
    return np.where(good, ratio, np.float32(1.0))
