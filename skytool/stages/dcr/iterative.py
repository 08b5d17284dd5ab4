"""The solution by steps, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.dcr.iterate import SteppedExposure, model_weights, solve_by_steps
from skytool.core.dcr.predict import predict_split
from skytool.core.noise.source_mask import source_mask
from skytool.stages.dcr.inputs import region_exposure
from skytool.stages.dcr.result import Step, TileResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from skytool.core.dcr.region_records import RegionExposure
    from skytool.models.exposure import Exposure
    from skytool.stages.dcr.config import DcrConfig
    from skytool.stages.dcr.inputs import TileInput
    from skytool.stages.dcr.tiles import Tile

    Rows = Callable[[int, int, int], Exposure]
    Image = NDArray[np.float32]

_BRIGHT = 5.0  # sigma of the template, of pixels that misfits are taken from


@dataclass(frozen=True, eq=False, kw_only=True)
class StartingSky:
    """What a solution begins with, for the whole image or a piece.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (ny, nx)
        The whole band [common unit]; anything finite where not valid.
    valid : ndarray of bool, shape (ny, nx)
        Where it has a value.
    sources : ndarray of bool, shape (ny, nx)
        Its sources.
    freedom : ndarray of float32, shape (ny, nx)
        `~skytool.core.dcr.iterate.model_weights`.
    """

    image: Image
    variance: Image
    valid: NDArray[np.bool_]
    sources: NDArray[np.bool_]
    freedom: Image

    @classmethod
    def of_template(cls, template: Exposure, scale: float, config: DcrConfig) -> StartingSky:
        """Return what a coadd gives; its sources are its DETECTED pixels, or found in it."""
        valid = np.isfinite(template.image) & ~template.mask.any_of(config.bad_planes)
        planes = config.iterative_planes
        sources = template.mask.any_of(planes)
        image = np.where(valid, template.image * np.float32(scale), 0.0).astype(np.float32)
        if not sources.any():
            sources = source_mask(image, ~valid)
        variance = np.where(valid, template.variance * np.float32(scale**2), np.inf)
        freedom = model_weights(sources, config.iterative.model_weights_width)
        return cls(
            image=image,
            variance=variance.astype(np.float32),
            valid=valid,
            sources=sources,
            freedom=freedom,
        )

    def piece(self, tile: Tile) -> StartingSky:
        """Return what belongs to a piece of sky."""
        place = (tile.outer.rows, tile.outer.columns)
        return StartingSky(
            image=self.image[place],
            variance=self.variance[place],
            valid=self.valid[place],
            sources=self.sources[place],
            freedom=self.freedom[place],
        )


def step_tile(
    tile: Tile,
    inputs: Sequence[TileInput],
    rows: Rows,
    sky: StartingSky,
    config: DcrConfig,
    *,
    bits: Mapping[str, int],
) -> TileResult:
    """Solve for a piece of sky.

    Parameters
    ----------
    tile : Tile
        The piece.
    inputs : sequence of TileInput
        What the exposures contribute.
    rows : function
        ``rows(index, start, stop)`` returns some rows of an exposure.
    sky : StartingSky
        What the steps begin with, there.
    config : DcrConfig
        Settings.
    bits : mapping of str to int
        Numbers of the mask planes of the result.
    """
    n_subfilters = tile.pairs.shape[1]
    places, regions, stepped, seen = _read(tile, inputs, rows, sky, config, bits)
    if not regions:
        return TileResult.empty(tile.core.shape, n_subfilters, len(inputs))
    solution = solve_by_steps(
        stepped,
        sky.image,
        sky.valid & ~sky.sources,
        sky.freedom,
        n_subfilters,
        config.iterative,
    )
    shown = [
        predict_split(solution.images, entry.pairs, order=_PREDICTION_ORDER) for entry in stepped
    ]
    before, after, misfits = _residuals(regions, shown, sky, tile, places, len(inputs))
    count = np.sum([region.usable[tile.cut] for region in regions], axis=0)
    nothing = np.full(tile.core.shape, np.nan, np.float32)
    variance = sky.variance[tile.cut]
    return TileResult(
        subfilters=np.stack([image[tile.cut] for image in solution.images]),
        variance=variance,
        subfilter_variances=np.stack([variance / np.float32(n_subfilters)] * n_subfilters),
        count=np.where(sky.valid[tile.cut], count, 0).astype(np.int16),
        rejected=np.zeros(tile.core.shape, np.bool_),
        before=before,
        after=after,
        slope=nothing,
        slope_error=nothing.copy(),
        bits=seen,
        misfits=misfits,
        steps=[
            Step(0, number, metric, gain)
            for number, (metric, gain) in enumerate(
                zip(solution.metrics, [np.nan, *solution.gains], strict=True)
            )
        ],
    )


_PREDICTION_ORDER = 3  # of templates, whatever the steps were made with


def _read(
    tile: Tile,
    inputs: Sequence[TileInput],
    rows: Rows,
    sky: StartingSky,
    config: DcrConfig,
    bits: Mapping[str, int],
) -> tuple[list[int], list[RegionExposure], list[SteppedExposure], NDArray[np.int32]]:
    """Return the exposures with usable pixels, their numbers, and the planes of these pixels."""
    places, regions, stepped = [], [], []
    seen = np.zeros(tile.core.shape, np.int32)
    for place, entry in enumerate(inputs):
        if not entry.weight > 0.0:
            continue
        part = rows(place, tile.outer.rows.start, tile.outer.rows.stop)
        region = region_exposure(part, entry, tile, place, config.bad_planes)
        if not region.usable.any():
            continue
        sources = part.mask.any_of(config.iterative_planes)[:, tile.outer.columns]
        stepped.append(_stepped(region, sources, sky, tile, place, entry, config))
        regions.append(region)
        places.append(place)
        planes = part.mask.renumbered(bits).array[:, tile.outer.columns]
        seen |= np.where(region.usable, planes, 0)[tile.cut].astype(np.int32)
    return places, regions, stepped, seen


def _stepped(
    region: RegionExposure,
    sources: NDArray[np.bool_],
    sky: StartingSky,
    tile: Tile,
    place: int,
    entry: TileInput,
    config: DcrConfig,
) -> SteppedExposure:
    """Return an exposure for the steps; without sources of its own it has those of the sky."""
    weight = entry.airmass if config.iterative.do_airmass_weight else 1.0
    return SteppedExposure(
        image=region.image,
        usable=region.usable,
        sources=sources if sources.any() else sky.sources,
        pairs=tile.pairs[place],
        means=tile.pairs[place].mean(axis=1),
        weight=weight,
    )


def _residuals(
    regions: Sequence[RegionExposure],
    shown: Sequence[Image],
    sky: StartingSky,
    tile: Tile,
    places: Sequence[int],
    n_inputs: int,
) -> tuple[Image, Image, NDArray[np.float64]]:
    """Return residuals from template and model over all exposures, and those of each."""
    cut = tile.cut
    noise = np.sqrt(np.where(sky.valid, sky.variance, 1.0))
    bright = (sky.valid & (sky.image > _BRIGHT * noise))[cut]
    squares = np.zeros((2, *tile.core.shape), np.float32)
    count = np.zeros(tile.core.shape, np.float32)
    misfits = np.zeros((n_inputs, 3))
    for place, region, image in zip(places, regions, shown, strict=True):
        inverse = np.where(region.usable, 1.0 / region.variance, 0.0)[cut]
        count += region.usable[cut]
        for kind, model in enumerate((sky.image, image)):
            chi2 = np.square(region.image[cut] - model[cut]) * inverse
            squares[kind] += chi2
            misfits[place, kind] = chi2[bright].sum(dtype=np.float64)
        misfits[place, 2] = (bright & region.usable[cut]).sum()
    squares /= np.maximum(count, 1.0)
    squares[:, count == 0] = np.nan
    before, after = np.sqrt(squares)
    return before, after, misfits
