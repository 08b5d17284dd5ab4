"""Images of the sky in parts of a band, with what they have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from astropy.io import fits

from skytool.core.windows import Window
from skytool.errors import IncompatibleError
from skytool.models.dcr.bands import Band
from skytool.models.exposure import Exposure, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from skytool.core.refraction.atmosphere import Variant
    from skytool.models.mask import Mask
    from skytool.models.photometry import PhotometricCalibration
    from skytool.models.psf.kinds import Psf

    Image = NDArray[np.float32]

SPECTRA = ("steps", "polynomial")
"""What the spectrum of a pixel may be between the subfilters: flat in each, or smooth."""


@dataclass(eq=False, kw_only=True)
class DcrImages:
    """Images of the sky in parts of a band, without refraction: as seen in the zenith.

    Boxes are `~skytool.core.windows.Window` of pixels in the parent frame, in which the first
    pixel of the model is at `origin`.

    Parameters
    ----------
    model_images : list of ndarray of float32, shape (ny, nx)
        One image for each subfilter, the bluest first; their sum is the whole band [``unit``].
    mask : Mask
        Named planes, common to all.
    variance : ndarray of float32, shape (ny, nx)
        Variance of one subfilter, common to all [``unit`` squared].
    effective_wavelength, bandwidth : float or None
        Middle and full width of the band [nm].
    curve : tuple of (float, float)
        Throughput of the band, see `~skytool.models.dcr.bands.Band`.
    reference_wavelength : float or None
        Wavelength of light that refraction leaves in its place [nm]; that of the band if None.
    filter : str
        Name of the filter.
    psf : Psf or None
        Point spread function of every subfilter.
    wcs : `~astropy.wcs.WCS` or None
        Celestial coordinates of array pixels.
    unit : str
        FITS unit string of the images.
    calibration : PhotometricCalibration or None
        What one ``unit`` is in nanojansky.
    origin : Origin
        Place of the first pixel in the parent frame.
    spectrum : {"steps", "polynomial"}
        What is between the subfilters, see `SPECTRA`.
    refraction : {"stone", "lsst", "filippenko"}
        Formula of the refraction that it was made with.
    name : str
        What messages call it.
    subfilter_variances : list of ndarray of float32, shape (ny, nx)
        Variance of every subfilter, if they differ.
    header : `~astropy.io.fits.Header`
        Observation cards common to all that it was made of.

    Raises
    ------
    ValueError
        If there is no image, or shapes differ.
    """

    model_images: list[Image]
    mask: Mask
    variance: Image
    effective_wavelength: float | None = None
    bandwidth: float | None = None
    curve: tuple[tuple[float, float], ...] = ()
    reference_wavelength: float | None = None
    filter: str = ""
    psf: Psf | None = None
    wcs: WCS | None = None
    unit: str = ""
    calibration: PhotometricCalibration | None = None
    origin: Origin = field(default=Origin(0, 0))
    spectrum: str = "steps"
    refraction: Variant = "stone"
    name: str = "the DCR model"
    subfilter_variances: list[Image] = field(default_factory=list)
    header: fits.Header = field(default_factory=fits.Header)

    def __post_init__(self) -> None:
        if not self.model_images:
            raise ValueError(f"{self.name} has no subfilters")
        planes = [*self.model_images, self.mask.array, self.variance, *self.subfilter_variances]
        if any(plane.shape != self.variance.shape for plane in planes):
            raise ValueError(f"the planes of {self.name} differ in shape")
        if self.spectrum not in SPECTRA:
            raise ValueError(f"{self.name}: no spectrum {self.spectrum!r}")

    @classmethod
    def from_image(
        cls,
        exposure: Exposure,
        dcr_num_subfilters: int,
        *,
        effective_wavelength: float | None = None,
        bandwidth: float | None = None,
        filter_name: str = "",
        psf: Psf | None = None,
        calibration: PhotometricCalibration | None = None,
    ) -> Self:
        """Divide a coadd equally between subfilters.

        Parameters
        ----------
        exposure : Exposure
            The coadd; PSF and calibration are its own unless given.
        dcr_num_subfilters : int
            Number of subfilters N. Each has 1/N of the flux and of the variance.
        effective_wavelength, bandwidth : float, optional
            Middle and width of the band [nm], needed for all that has to do with refraction.
        filter_name : str
            Name of the filter.
        psf : Psf, optional
            Point spread function.
        calibration : PhotometricCalibration, optional
            Photometric calibration.

        Raises
        ------
        ValueError
            If there are no subfilters, or a pixel is NaN and has no mask plane.
        """
        if dcr_num_subfilters < 1:
            raise ValueError(f"a model has one subfilter or more, not {dcr_num_subfilters}")
        empty = np.isnan(exposure.image)
        if (empty & (exposure.mask.array == 0)).any():
            raise ValueError(f"{exposure.name} has pixels that are NaN and not masked")
        image = exposure.image / np.float32(dcr_num_subfilters)
        image[empty] = 0.0
        return cls(
            model_images=[image.copy() for _ in range(dcr_num_subfilters)],
            mask=type(exposure.mask)(exposure.mask.array.copy(), exposure.mask.bits),
            variance=exposure.variance / np.float32(dcr_num_subfilters),
            effective_wavelength=effective_wavelength,
            bandwidth=bandwidth,
            filter=filter_name,
            psf=psf or exposure.psf,
            wcs=exposure.wcs,
            unit=exposure.unit,
            calibration=calibration or exposure.calibration,
            origin=exposure.origin,
            name=exposure.name,
            header=exposure.header,
        )

    @property
    def dcr_num_subfilters(self) -> int:
        """Number of subfilters."""
        return len(self.model_images)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        ny, nx = self.variance.shape
        return ny, nx

    @property
    def bbox(self) -> Window:
        """Pixels of the model in the parent frame."""
        return Window(y=self.origin.y, x=self.origin.x, shape=self.shape)

    @property
    def band(self) -> Band:
        """The band; a `ValueError` if its wavelengths are not known."""
        if self.effective_wavelength is None or self.bandwidth is None:
            raise ValueError(f"{self.name} has no effective wavelength and bandwidth")
        return Band(self.effective_wavelength, self.bandwidth, self.filter, curve=self.curve)

    def full_band(self) -> Exposure:
        """Return the sum of the subfilters, the sky in the zenith, as an exposure."""
        total = np.sum(np.stack(self.model_images), axis=0, dtype=np.float64)
        return Exposure(
            image=np.asarray(total, dtype=np.float32),
            mask=self.mask,
            variance=self.variance * np.float32(len(self)),
            wcs=self.wcs,
            unit=self.unit,
            calibration=self.calibration,
            psf=self.psf,
            header=self.header,
            origin=self.origin,
            name=self.name,
        )

    def __len__(self) -> int:
        return len(self.model_images)

    def __iter__(self) -> Iterator[Image]:
        return iter(self.model_images)

    def __getitem__(self, subfilter: int) -> Image:
        return self.model_images[self._checked(subfilter)]

    def __setitem__(self, subfilter: int, image: Image) -> None:
        if image.shape != self.shape:
            raise ValueError(f"an image of shape {image.shape} does not fit to {self.shape}")
        self.model_images[self._checked(subfilter)] = image

    def _checked(self, subfilter: int) -> int:
        if not -len(self) <= subfilter < len(self):
            raise IndexError(f"{self.name} has {len(self)} subfilters, not a number {subfilter}")
        return subfilter

    def _box(self, bbox: Window | None) -> Window:
        """Return the pixels of a box that the model has."""
        common = self.bbox if bbox is None else self.bbox.common(bbox)
        if common is None:
            raise IncompatibleError(f"{self.name} has no pixel in the box that is asked for.")
        return common

    def _cut(self, image: NDArray[Any], bbox: Window) -> NDArray[Any]:
        """Return the part of an image, of the box or of the whole model, that is in a box."""
        return image if image.shape == bbox.shape else image[bbox.within(self.bbox)]

    def get_reference_image(self, bbox: Window | None = None) -> Image:
        """Return the mean of the subfilters.

        Parameters
        ----------
        bbox : Window, optional
            Part of the model.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
            The whole band without refraction is this times the number of subfilters.
        """
        parts = [self._cut(image, self._box(bbox)) for image in self]
        return np.asarray(np.mean(parts, axis=0, dtype=np.float64), dtype=np.float32)

    def assign(self, dcr_sub_model: DcrImages, bbox: Window | None = None) -> None:
        """Replace pixels by those of another model.

        Parameters
        ----------
        dcr_sub_model : DcrImages
            The other model; its mask and variance do not count.
        bbox : Window, optional
            Which pixels; all of the other model by default.

        Raises
        ------
        ValueError
            If it has another number of subfilters.
        """
        if len(dcr_sub_model) != len(self):
            raise ValueError(f"{len(dcr_sub_model)} subfilters do not fit to {len(self)}")
        box = self._box(dcr_sub_model.bbox if bbox is None else dcr_sub_model._box(bbox))
        for image, other in zip(self, dcr_sub_model, strict=True):
            image[box.within(self.bbox)] = other[box.within(dcr_sub_model.bbox)]
