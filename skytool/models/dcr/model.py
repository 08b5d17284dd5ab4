"""The sky as refraction makes it, and templates from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr import limits as dcr_limits
from skytool.core.dcr.predict import predict_spectral, predict_split
from skytool.core.windows import Window
from skytool.errors import IncompatibleError
from skytool.models.dcr.images import DcrImages
from skytool.models.dcr.refraction_shifts import SubfilterShifts, subfilter_shifts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.models.observation.pointing import Pointing

    Image = NDArray[np.float32]


class DcrModel(DcrImages):
    """Images of the sky in parts of a band, without refraction: as seen in the zenith.

    What it holds is described with `~skytool.models.dcr.images.DcrImages`. Boxes are
    `~skytool.core.windows.Window` of pixels in the parent frame, in which the first pixel of the
    model is at its ``origin``.
    """

    def shifts_for(self, visit_info: Pointing, *, bbox: Window | None = None) -> SubfilterShifts:
        """Return where an exposure shows the subfilters, in the pixels of the model.

        Parameters
        ----------
        visit_info : `~skytool.models.observation.pointing.Pointing`
            Where the zenith was.
        bbox : Window, optional
            Part of the model, in whose middle refraction is taken.

        Raises
        ------
        ValueError
            If the model has no wavelengths.
        IncompatibleError
            If it has no WCS.
        """
        band = self.band
        if self.wcs is None:
            raise IncompatibleError(f"{self.name} has no celestial WCS.")
        box = self._box(bbox).moved(y=self.origin.y, x=self.origin.x)
        return subfilter_shifts(
            visit_info,
            self.wcs,
            band.subfilters(len(self)),
            y=box.y + (box.shape[0] - 1) / 2.0,
            x=box.x + (box.shape[1] - 1) / 2.0,
            reference_wavelength=self.reference_wavelength,
            variant=self.refraction,
            name=self.name,
        )

    def build_matched_template(
        self,
        exposure: Exposure | None = None,
        order: int | None = 3,
        visit_info: Pointing | None = None,
        bbox: Window | None = None,
        *,
        split_subfilters: bool = True,
        split_threshold: float = 0.0,
        amplify_model: float = 1.0,
        shifts: SubfilterShifts | ArrayLike | None = None,
    ) -> Image:
        """Return the sky as an exposure shows it.

        Parameters
        ----------
        exposure : Exposure, optional
            The exposure, whose header says where the zenith was.
        order : int or None
            Degree of the splines that shift images. None predicts with the spectrum of the model,
            at many wavelengths and without interpolation.
        visit_info : `~skytool.models.observation.pointing.Pointing`, optional
            Where the zenith was, instead of an exposure.
        bbox : Window, optional
            Part of the model; by default that of the exposure, or all.
        split_subfilters : bool
            Whether each subfilter is the mean of two shifts.
        split_threshold : float
            Difference of the two shifts from which this is done [pixel].
        amplify_model : float
            Factor on the differences between subfilters.
        shifts : SubfilterShifts or array_like of float, shape (n_subfilters, 2, 2), optional
            Shifts ``(dy, dx)`` of the two halves of every subfilter [pixel], instead of both.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
            Pixels of the box.

        Raises
        ------
        ValueError
            If nothing says where the zenith was, or the model has no wavelengths.
        """
        if shifts is None:
            shifts = self._shifts(exposure, visit_info, bbox)
        box = self._box(bbox)
        pairs = shift_pairs(shifts)
        grown = self._grown(box, pairs)
        images = [self._cut(image, grown) for image in self]
        if amplify_model != 1.0:
            mean = self.get_reference_image(grown)
            images = [(image - mean) * np.float32(amplify_model) + mean for image in images]
        if order is None:
            if not isinstance(shifts, SubfilterShifts):
                raise ValueError("a spectral prediction needs the refraction, not shifts alone")
            wavelengths = self.wavelengths()
            dy, dx = shifts.local.shifts(wavelengths)
            smooth = self.spectrum == "polynomial"
            throughput = self.band.throughput(wavelengths)
            template = predict_spectral(images, dy, dx, smooth=smooth, throughput=throughput)
        else:
            if not split_subfilters:
                split_threshold = np.inf
            template = predict_split(images, pairs, order=order, threshold=split_threshold)
        return np.ascontiguousarray(template[box.within(grown)])

    def wavelengths(self) -> NDArray[np.float64]:
        """Return the wavelengths at which spectral predictions are made [nm]."""
        from skytool.core.dcr.basis import band_nodes

        band = self.band
        return band.effective_wavelength + band.bandwidth / 2.0 * band_nodes(len(self))

    def _shifts(
        self, exposure: Exposure | None, visit_info: Pointing | None, bbox: Window | None
    ) -> SubfilterShifts:
        if exposure is not None:
            visit_info = _pointing(exposure)
        if visit_info is None:
            raise ValueError("a template needs an exposure, visit_info or shifts")
        return self.shifts_for(visit_info, bbox=bbox)

    def _grown(self, box: Window, pairs: NDArray[np.float64]) -> Window:
        """Return a box with all pixels whose light may come into it."""
        border = int(np.ceil(np.abs(pairs).max())) + _BORDER
        ny, nx = box.shape
        return self._box(
            Window(y=box.y - border, x=box.x - border, shape=(ny + 2 * border, nx + 2 * border))
        )

    def build_matched_exposure(
        self,
        exposure: Exposure | None = None,
        visit_info: Pointing | None = None,
        bbox: Window | None = None,
        *,
        order: int | None = 3,
        shifts: SubfilterShifts | ArrayLike | None = None,
    ) -> Exposure:
        """Return the sky as an exposure shows it, with mask and variance.

        Parameters
        ----------
        exposure, visit_info, bbox, order, shifts
            As for `build_matched_template`.

        Returns
        -------
        Exposure
            Its mask has every plane of a pixel that any subfilter brings there.

        Raises
        ------
        RuntimeError
            If the model has no photometric calibration.
        ValueError
            As `build_matched_template`.
        """
        if self.calibration is None:
            raise RuntimeError(
                f"{self.name} has no photometric calibration, which an exposure needs: "
                "give one to from_image, or read the model from a file that has it"
            )
        from skytool.models.dcr.planes import matched_exposure

        if shifts is None:
            shifts = self._shifts(exposure, visit_info, bbox)
        return matched_exposure(self, shifts, self._box(bbox), order=order)

    def condition_dcr_model(
        self, model_images: Sequence[Image], bbox: Window, gain: float = 1.0
    ) -> None:
        """Average new images with those of this model, in place.

        Parameters
        ----------
        model_images : sequence of ndarray of float32, shape (ny, nx)
            New images of the box, which are changed.
        bbox : Window
            The box.
        gain : float
            Weight of the new images relative to the old ones.
        """
        dcr_limits.average_steps(model_images, [self._cut(image, bbox) for image in self], gain)

    def regularize_model_iter(
        self,
        subfilter: int,
        new_model: Image,
        bbox: Window,
        regularization_factor: float,
        regularization_width: int = 2,
        *,
        keep_negative: bool = False,
    ) -> None:
        """Limit by how much a subfilter changes from one step to the next, in place.

        Parameters
        ----------
        subfilter : int
            Its number.
        new_model : ndarray of float32, shape (ny, nx)
            New image of the box, which is changed.
        bbox : Window
            The box.
        regularization_factor : float
            Largest ratio of new and old.
        regularization_width : int
            Radius of the smallest area that is changed [pixel].
        keep_negative : bool
            Whether negative values may stay what they are.
        """
        dcr_limits.limit_step(
            new_model,
            self._cut(self[subfilter], bbox),
            regularization_factor,
            width=regularization_width,
            keep_negative=keep_negative,
        )

    def regularize_model_freq(
        self,
        model_images: Sequence[Image],
        bbox: Window,
        bad_mask_planes: Iterable[str],
        regularization_factor: float,
        regularization_width: int = 2,
        mask: Mask | None = None,
        convergence_mask_planes: str | Iterable[str] = "DETECTED",
    ) -> None:
        """Limit by how much subfilters differ, in place.

        Parameters
        ----------
        model_images : sequence of ndarray of float32, shape (ny, nx)
            New images of the box, which are changed.
        bbox : Window
            The box.
        bad_mask_planes : iterable of str
            Planes of pixels that do not count for the noise.
        regularization_factor : float
            Largest ratio of two subfilters.
        regularization_width : int
            Size of the smoothing [pixel].
        mask : Mask, optional
            Mask of the box or of the model, instead of its own.
        convergence_mask_planes : str or iterable of str
            Planes of sources.
        """
        noise = self.calculate_noise_cutoff(
            model_images[0], bad_mask_planes, _FREQ_BUFFER, convergence_mask_planes, mask, bbox
        )
        dcr_limits.limit_colours(
            model_images,
            self.get_reference_image(bbox),
            noise,
            regularization_factor,
            width=regularization_width,
        )

    def calculate_noise_cutoff(
        self,
        image: Image,
        bad_mask_planes: Iterable[str],
        buffer_size: int,
        convergence_mask_planes: str | Iterable[str] = "DETECTED",
        mask: Mask | None = None,
        bbox: Window | None = None,
    ) -> float:
        """Return the standard deviation of the pixels that show no source.

        Parameters
        ----------
        image : ndarray of float32, shape (ny, nx)
            Image of the box, or of the model.
        bad_mask_planes : iterable of str
            Planes of pixels that do not count.
        buffer_size : int
            Pixels along all edges of the box that do not count.
        convergence_mask_planes : str or iterable of str
            Planes of sources.
        mask : Mask, optional
            Mask of the box or of the model, instead of its own.
        bbox : Window, optional
            The box; the whole model by default.
        """
        box = self._box(bbox)
        planes = (
            [convergence_mask_planes]
            if isinstance(convergence_mask_planes, str)
            else convergence_mask_planes
        )
        flagged = (mask or self.mask).any_of([*bad_mask_planes, *planes])
        usable = ~self._cut(flagged, box)
        inside = np.zeros_like(usable)
        ny, nx = usable.shape
        inside[buffer_size : ny - buffer_size, buffer_size : nx - buffer_size] = True
        return dcr_limits.noise_cutoff(self._cut(image, box), usable & inside)

    @staticmethod
    def apply_image_thresholds(
        image: Image,
        high_threshold: Image | None = None,
        low_threshold: Image | None = None,
        regularization_width: int = 2,
    ) -> None:
        """Bring extended areas of an image between limits, in place.

        Parameters
        ----------
        image : ndarray of float32, shape (ny, nx)
            The image.
        high_threshold, low_threshold : ndarray of float32, shape (ny, nx), optional
            Limits.
        regularization_width : int
            Radius of the smallest area that is changed [pixel].
        """
        dcr_limits.apply_thresholds(
            image, high_threshold, low_threshold, width=regularization_width
        )


_BORDER = 8  # beyond the largest shift, for splines and the ripples of spectral shifts
_FREQ_BUFFER = 5


def _pointing(exposure: Exposure) -> Pointing:
    """Return where the zenith was during an exposure, by its header."""
    from skytool.models.observation.observation import observation_from_header
    from skytool.models.observation.pointing import resolve_pointing
    from skytool.models.sky.orientation import sky_orientation

    center = None
    if exposure.wcs is not None:
        ny, nx = exposure.shape
        place = sky_orientation(exposure.wcs, y=(ny - 1) / 2, x=(nx - 1) / 2, name=exposure.name)
        center = place.ra, place.dec
    return resolve_pointing(
        observation_from_header(exposure.header), center=center, name=exposure.name
    )


def shift_pairs(shifts: SubfilterShifts | ArrayLike) -> NDArray[np.float64]:
    """Return the shifts of the halves of subfilters, shape (n, 2, 2), last axis ``(dy, dx)``."""
    if isinstance(shifts, SubfilterShifts):
        return np.stack([shifts.dy, shifts.dx], axis=-1)
    return np.asarray(shifts, dtype=np.float64)
