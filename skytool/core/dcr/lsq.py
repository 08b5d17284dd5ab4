r"""Sky images over a band from exposures with different refraction, by least squares.

An exposure i shows the sum of the coefficients :math:`c_l` of the spectra of all pixels, each
displaced and smeared by a filter :math:`H_{il}` (`~skytool.core.dcr.basis`). Minimised is

.. math:: \sum_i \left| \sqrt{w_i} \Big( s_i - \sum_l H_{il} c_l \Big) \right|^2
          + \left| \frac{q * c_0}{\tau} \right|^2
          + \sum_{l \ge 1} |u_l|^2, \qquad c_l = a_l \, T \, (g * u_l)

with the weights :math:`w_i` of the pixels, zero where they are masked, and the priors of
`~skytool.core.dcr.prior`. The problem is linear, and solved by conjugate gradients. What
preconditions them is the solution for exposures without masks, one small matrix for each
frequency, between factors for the brightness of each place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Image = NDArray[np.float32]
    Spectrum = NDArray[np.complex64]

_SPREAD = 100.0
"""Precision of colours in the preconditioner, between those on blank sky and on sources."""

_SHARE = 0.3
"""Precision of flux in the preconditioner, relative to that on blank sky."""


class LsqSolution(NamedTuple):
    """Result of `DcrSystem.solve`.

    Parameters
    ----------
    unknowns : ndarray of float32, shape (n_terms, ny, nx)
        Flux and white colour fields, a start for a similar system.
    errors : list of float
        Distance to the solution after every step, in standard deviations a pixel.
    """

    unknowns: Image
    errors: list[float]


@dataclass(eq=False)
class DcrSystem:
    """The normal equations of a piece of sky.

    All images are padded, so that what leaves on one side does not come in on the other.

    Parameters
    ----------
    images : sequence of ndarray of float32, shape (ny, nx)
        Pixels of the exposures; anything finite where the weight is zero.
    weights : sequence of ndarray of float32, shape (ny, nx)
        Weights [1 / variance].
    transfers : sequence of ndarray of complex64, shape (n_terms, ny, nx // 2 + 1)
        What each exposure does to each coefficient.
    amplitudes : sequence of float
        Usual size of every coefficient but the first, relative to the brightness.
    brightness : ndarray of float32, shape (ny, nx)
        Brightness.
    coherence : ndarray of float32, shape (ny, nx // 2 + 1)
        Filter of colours.
    sharpener : ndarray of float32, shape (ny, nx // 2 + 1)
        Filter that takes the PSF off.
    spread : ndarray of float32, shape (ny, nx)
        Usual size of the pixels of the flux without PSF.
    """

    images: Sequence[Image]
    weights: Sequence[Image]
    transfers: Sequence[Spectrum]
    amplitudes: Sequence[float]
    brightness: Image
    coherence: Image
    sharpener: Image
    spread: Image

    def __post_init__(self) -> None:
        self.shape = self.brightness.shape
        self.n_terms = len(self.amplitudes) + 1
        self._precision = np.square(1.0 / self.spread)
        self._scales = [np.float32(size) * self.brightness for size in self.amplitudes]
        self._used = [
            float(weight[weight > 0].mean()) if weight.any() else 0.0 for weight in self.weights
        ]
        self._inverse, self._balance = self._preconditioner()

    def coefficients(self, unknowns: Image) -> Image:
        """Return the coefficients of the spectra, shape (n_terms, ny, nx)."""
        return self._image(self._expanded(unknowns))

    def predicted(self, unknowns: Image) -> list[Image]:
        """Return what the exposures would be without noise, each of shape (ny, nx)."""
        coefficients = self._expanded(unknowns)
        return [self._image(_mixed(transfer, coefficients)) for transfer in self.transfers]

    def start(self, mean: Image) -> Image:
        """Return the unknowns of an image without any colour."""
        unknowns = np.zeros((self.n_terms, *self.shape), np.float32)
        unknowns[0] = mean
        return unknowns

    def solve(
        self,
        start: Image,
        *,
        accuracy: float,
        max_iterations: int,
        images: Sequence[Image] | None = None,
    ) -> LsqSolution:
        """Solve by preconditioned conjugate gradients (Hestenes & Stiefel 1952).

        Parameters
        ----------
        start : ndarray of float32, shape (n_terms, ny, nx)
            First guess, which is not changed.
        accuracy : float
            Distance to the solution at which to stop [standard deviation a pixel].
        max_iterations : int
            Steps at most.
        images : sequence of ndarray of float32, shape (ny, nx), optional
            Other pixels than those of the exposures.
        """
        x = start.copy()
        residual = self._right_side(images or self.images) - self._normal(x)
        preconditioned = self._precondition(residual)
        direction = preconditioned.copy()
        energy = _product(residual, preconditioned)
        errors: list[float] = []
        n_pixels = self.shape[0] * self.shape[1]
        for _ in range(max_iterations):
            turned = self._normal(direction)
            curvature = _product(direction, turned)
            if not curvature > 0.0:  # nothing is left to improve
                break
            step = np.float32(energy / curvature)
            x += step * direction
            residual -= step * turned
            preconditioned = self._precondition(residual)
            before, energy = energy, _product(residual, preconditioned)
            errors.append(float(np.sqrt(max(energy, 0.0) / n_pixels)))
            if errors[-1] <= accuracy:
                break
            direction *= np.float32(energy / before)
            direction += preconditioned
        return LsqSolution(x, errors)

    def _spectrum(self, image: Image) -> Spectrum:
        return np.asarray(fft.rfft2(image, norm="ortho"))

    def _image(self, spectrum: Spectrum) -> Image:
        return np.asarray(fft.irfft2(spectrum, s=self.shape, norm="ortho"))

    def _expanded(self, unknowns: Image) -> Spectrum:
        """Return the transforms of the coefficients."""
        flux, *fields = unknowns
        terms = [self._spectrum(flux)]
        for field, scale in zip(fields, self._scales, strict=True):
            colour = self._image(self.coherence * self._spectrum(field))
            terms.append(self._spectrum(scale * colour))
        return np.stack(terms)

    def _gathered(self, terms: Spectrum) -> Image:
        """Apply the adjoint of `_expanded` to transforms."""
        images = [self._image(terms[0])]
        for term, scale in zip(terms[1:], self._scales, strict=True):
            colour = self._spectrum(scale * self._image(term))
            images.append(self._image(self.coherence * colour))
        return np.stack(images)

    def _right_side(self, images: Sequence[Image]) -> Image:
        total = np.zeros((self.n_terms, *self.coherence.shape), np.complex64)
        for image, weight, transfer in zip(images, self.weights, self.transfers, strict=True):
            _add_adjoint(total, transfer, self._spectrum(weight * image))
        return self._gathered(total.conj())

    def _normal(self, unknowns: Image) -> Image:
        """Apply the matrix of the normal equations."""
        coefficients = self._expanded(unknowns)
        total = np.zeros_like(coefficients)
        for weight, transfer in zip(self.weights, self.transfers, strict=True):
            shown = self._image(_mixed(transfer, coefficients))
            _add_adjoint(total, transfer, self._spectrum(weight * shown))
        total = total.conj()
        points = self._image(self.sharpener * coefficients[0])
        total[0] += self.sharpener * self._spectrum(self._precision * points)
        result = self._gathered(total)
        result[1:] += unknowns[1:]
        return result

    def full_matrix(self) -> Spectrum:
        """Return the matrices of all frequencies for exposures without masks.

        Returns
        -------
        ndarray of complex64, shape (ny, nx // 2 + 1, n_terms, n_terms)
            Of the coefficients, without any prior.
        """
        matrix = np.zeros((*self.coherence.shape, self.n_terms, self.n_terms), np.complex64)
        for weight, transfer in zip(self._used, self.transfers, strict=True):
            for a in range(self.n_terms):
                for b in range(a + 1):
                    matrix[..., a, b] += np.float32(weight) * transfer[a].conj() * transfer[b]
        for a in range(self.n_terms):
            for b in range(a):
                matrix[..., b, a] = matrix[..., a, b].conj()
        return matrix

    def _preconditioner(self) -> tuple[Spectrum, list[Image]]:
        """Return the inverse matrices of all frequencies, and the factors of all places."""
        matrix = self.full_matrix()
        shares = self.coherence**2 / (self.coherence**2).sum()
        factors = [np.ones_like(self.coherence)]
        balance = [np.ones(self.shape, np.float32)]
        for term, scale in enumerate(self._scales, start=1):
            information = float((matrix[..., term, term].real * shares).sum())
            # a field that the data say nothing of has precision one, others that of the data
            balance.append(1.0 / np.sqrt(1.0 + information * scale**2, dtype=np.float32))
            factors.append(self.coherence / np.float32(np.sqrt(max(information, 1e-30))))
        for a, factor in enumerate(factors):
            for b, other in enumerate(factors):
                matrix[..., a, b] *= factor * other
        typical = np.float32(_SHARE) * self._precision.max()
        matrix[..., 0, 0] += typical * np.square(self.sharpener)
        for term in range(1, self.n_terms):
            matrix[..., term, term] += _SPREAD
        inverse = np.moveaxis(np.linalg.inv(matrix), (2, 3), (0, 1))
        return np.ascontiguousarray(inverse), balance

    def _precondition(self, residual: Image) -> Image:
        spectra = [
            self._spectrum(factor * image)
            for factor, image in zip(self._balance, residual, strict=True)
        ]
        return np.stack(
            [
                factor * self._image(_mixed(row, spectra))
                for factor, row in zip(self._balance, self._inverse, strict=True)
            ]
        )


def _mixed(factors: Spectrum, spectra: Sequence[Spectrum] | Spectrum) -> Spectrum:
    """Return the sum of the products of factors and transforms."""
    total = factors[0] * spectra[0]
    for factor, spectrum in zip(factors[1:], spectra[1:], strict=True):
        total += factor * spectrum
    return total


def _add_adjoint(total: Spectrum, transfer: Spectrum, spectrum: Spectrum) -> None:
    """Add the conjugate of what the adjoint of an exposure makes of a transform."""
    mirrored = spectrum.conj()
    for number, factor in enumerate(transfer):
        total[number] += factor * mirrored


def _product(a: Image, b: Image) -> float:
    return float(np.sum(a * b, dtype=np.float64))
