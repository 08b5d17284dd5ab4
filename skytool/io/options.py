"""What a user says of how inputs are to be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skytool.errors import IncompatibleError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ReadOptions:
    """How to read inputs, where a file does not say it or is not to be believed.

    Parameters
    ----------
    layout : str, optional
        Name of the layout.
    hdu : str, optional
        Extension that holds the image, by name or number, for inputs without brackets.
    mask, variance, weight, error, psf : str, optional
        ``FILE`` or ``FILE[EXT]`` with that plane; ``[EXT]`` alone means an extension of the input.
    dq_map : str, optional
        Name or file of the map that says what the values of a mask mean.
    gain : float or str, optional
        Electrons per unit of the image; ``!KEYWORD`` takes it from the header.
    read_noise : float or str, optional
        Read noise [electron], or ``!KEYWORD``.
    sky : float or str, optional
        Sky level that was subtracted before [unit of the image], or ``!KEYWORD``.
    noise_from_sky : bool
        Take the variance from the scatter of the sky, whatever else there is.
    saturate : float or str, optional
        Level from which pixels are saturated [unit of the image], or ``!KEYWORD``.
    fwhm : float or str, optional
        Full width at half maximum of a Gaussian PSF [pixel], or ``!KEYWORD``.
    require_variance : bool
        Refuse an image that brings no variance.
    weight_is : str, optional
        ``inverse-variance`` or ``exptime``: what weights are, where the layout cannot tell.
    flux_keyword : str, optional
        Card that holds the flux scale.
    verify : bool
        Compare the checksums of the files.
    """

    layout: str | None = None
    hdu: str | None = None
    mask: str | None = None
    variance: str | None = None
    weight: str | None = None
    error: str | None = None
    psf: str | None = None
    dq_map: str | None = None
    gain: float | str | None = None
    read_noise: float | str | None = None
    sky: float | str | None = None
    noise_from_sky: bool = False
    saturate: float | str | None = None
    fwhm: float | str | None = None
    require_variance: bool = False
    weight_is: str | None = None
    flux_keyword: str | None = None
    verify: bool = False

    def number(self, option: str, header: Mapping[str, object]) -> float | None:
        """Return the number that an option stands for.

        Parameters
        ----------
        option : str
            Name of the field.
        header : mapping, as `~astropy.io.fits.Header`
            Where ``!KEYWORD`` is looked up.

        Raises
        ------
        InputError
            If the option is no number, or an impossible one.
        IncompatibleError
            If the header lacks the keyword, or it holds no number, or an impossible one.
        """
        given = getattr(self, option)
        if given is None:
            return None
        name = f"--{option.replace('_', '-')}"
        if isinstance(given, str) and given.startswith("!"):
            keyword = given[1:].strip()
            value = header.get(keyword)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise IncompatibleError(f"{name} {given}: the header has no number {keyword}.")
            if not _is_possible(option, value):
                raise IncompatibleError(f"{name} {given}: {keyword} = {value} is impossible.")
            return float(value)
        try:
            number = float(given)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{name}: {given!r} is no number.", hint="Write a number or !KEYWORD.")
        if not _is_possible(option, number):
            raise InputError(f"{name}: {number:g} is impossible.")
        return number


def _is_possible(option: str, number: float) -> bool:
    """Return whether an option can have a value: a gain and a width are above zero."""
    if option in {"gain", "fwhm"}:
        return number > 0.0
    return option != "read_noise" or number >= 0.0
