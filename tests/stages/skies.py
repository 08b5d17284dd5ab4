"""Exposures of the night sky with a known pattern, and frames made of them."""

import numpy as np

from skytool.core.background.curves import InterpolationStyle
from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask
from skytool.models.skyframe import SkyFrame
from skytool.stages.skyframe import (
    ApplyConfig,
    ApplyInput,
    BuildConfig,
    BuildInput,
    build_sky_frames,
    sample_boxes,
    sky_blocks,
    solve_visit,
    superpixel_grid,
)

SHAPE = (352, 416)
LEVELS = (600.0, 700.0, 850.0, 950.0, 1050.0, 1150.0, 1250.0, 1400.0)


def pattern(shape=SHAPE, size=0.01):
    """Return waves and a glow at one side; mean zero, rms about `size`."""
    y, x = np.indices(shape, float)
    waves = np.sin(x / 31.0 + 1) * np.cos(y / 43.0) + 2 * np.exp(-x / 60.0)
    waves -= waves.mean()
    return size * waves / waves.std()


def gradient(rng, shape=SHAPE, size=0.05):
    """Return a random plane with a bend, in units of the level."""
    y, x = (np.linspace(-1, 1, n) for n in shape)
    a, b, c = rng.normal(0, size, 3)
    return a * y[:, None] + b * x + 0.3 * c * np.multiply.outer(y, x)


def exposure(image, *, flags=None, variance=None, origin=(0, 0), name="exposure", header=None):
    """Return an exposure; `flags` maps planes to where they are set."""
    image = np.asarray(image, np.float32)
    mask = Mask.empty(image.shape)
    for plane, where in (flags or {}).items():
        mask = mask.with_flagged(np.broadcast_to(where, image.shape), plane)
    level = np.nanmedian(image)
    values = np.full(image.shape, max(level, 1.0)) if variance is None else variance
    values = np.asarray(np.broadcast_to(values, image.shape), np.float32)
    extra = {} if header is None else {"header": header}
    return Exposure(image, mask, values, origin=Origin(*origin), name=name, unit="adu", **extra)


def sky_exposure(rng, level, truth, *, smooth=0.0, objects=0.0, **options):
    """Return a sky of a level with Gaussian photon noise, and objects."""
    expected = level * (1 + truth + smooth) + objects
    noise = rng.normal(0, 1, truth.shape) * np.sqrt(np.maximum(expected, 0))
    return exposure(expected + noise, **options)


def build_input(given, visit, detector="", config=None, filter_name=""):
    """Return what `build_sky_frames` takes."""
    config = config or BuildConfig()

    def load():
        return sky_blocks(
            given,
            superpixel_grid(given.shape, config.background),
            visit=visit,
            detector=detector,
            filter_name=filter_name,
            planes=config.background.mask,
            block_size=config.background.block_size,
            keep_out=config.large_scale.mask if config.large_scale.model == "cells" else (),
            with_variance=config.objects.noise == "variance",
        )

    return BuildInput(given.name, visit, detector, load)


def built(exposures, config=None):
    """Build from exposures of one detector, each of another visit."""
    inputs = [build_input(given, f"v{i}", config=config) for i, given in enumerate(exposures)]
    return build_sky_frames(inputs, config or BuildConfig())


def cell_means(image, cells):
    rows = np.add.reduceat(image, cells.y_edges[:-1], axis=0)
    return np.add.reduceat(rows, cells.x_edges[:-1], axis=1) / cells.areas


def low_order(values):
    """Return what smooth backgrounds of order 2 could take off cells."""
    y, x = (np.linspace(-1, 1, n) for n in values.shape)
    yy, xx = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    design = np.column_stack([np.ones(yy.size), yy, xx, yy**2, xx**2, yy * xx])
    fit = np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
    return (design @ fit).reshape(values.shape)


def frame_of(truth, *, bin_size=16, variance=0.0, origin=(0, 0)):
    """Return a frame without noise of a pattern in superpixels."""
    shape = truth.shape
    from skytool.core.background.cell_grid import CellGrid

    cells = CellGrid.from_bin_size(shape, bin_size, rounding="nearest")
    values = cell_means(truth, cells).astype(np.float32)
    return SkyFrame(
        image=values,
        variance=np.full(values.shape, variance, np.float32),
        mask=Mask.empty(values.shape),
        shape=shape,
        origin=Origin(*origin),
        algorithm=InterpolationStyle.NATURAL_SPLINE,
        name="sky.fits",
    )


def apply_input(given, frame, detector="", config=None, **options):
    """Return what `solve_visit` takes."""
    config = config or ApplyConfig()
    cells = config.bg_model1.model == "cells" or config.do_bg_model2
    sky = sky_blocks(
        given,
        sample_boxes(given.shape, config.sky, frame.cells),
        visit="v",
        detector=detector,
        planes=config.sky.stats.mask,
        block_size=config.sky.background.block_size,
        keep_out=config.bg_model2.mask if cells else (),
        with_variance=config.objects.noise == "variance",
        restore=config.restore_background,
        factor=options.pop("factor", None),
    )
    return ApplyInput(sky, frame, **options)


def solved(given, frame, config=None):
    """Solve for the scale in one exposure."""
    config = config or ApplyConfig()
    return solve_visit([apply_input(given, frame, config=config)], config)
