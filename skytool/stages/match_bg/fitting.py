"""Models of the difference of two backgrounds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from skytool.core.background.cell_grid import CellGrid, extrapolated_cells
from skytool.core.background.chebyshev import term_degrees
from skytool.core.background.interpolation import UndersampleStyle, grid_rule
from skytool.core.background.polynomial_match import fit_polynomial
from skytool.core.difference.cells import (
    FrameCells,
    ImagePiece,
    centered_values,
    frame_cells,
)
from skytool.core.skyframe.superpixels import superpixels
from skytool.errors import AlgorithmError
from skytool.stages.match_bg.background_fit import BackgroundFit, CellMaps, Lattice
from skytool.stages.match_bg.models import (
    ConstantModel,
    FrameModel,
    PolynomialModel,
    SplineModel,
    SuperpixelModel,
)
from skytool.stages.match_bg.reporting import CellReport, report_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from skytool.stages.match_bg.config import MatchConfig

    Pieces = Callable[[], Iterable[ImagePiece]]


def fit_background(
    pieces: Pieces,
    frame_shape: tuple[int, int],
    config: MatchConfig,
    *,
    name: str,
    reference: str,
    is_held: bool,
) -> BackgroundFit:
    """Fit a model to the difference of a reference and an exposure.

    Parameters
    ----------
    pieces : callable
        Returns an iterator over the pieces of the difference; called once for every pass.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    config : MatchConfig
        Settings.
    name, reference : str
        What messages call both.
    is_held : bool
        Whether the pieces are in memory, so that one pass more costs little: then cells are chosen
        by how much of the frame both have.

    Raises
    ------
    AlgorithmError
        If they have no pixel in common, or too few for the model.
    """
    lattice = Lattice(frame_shape)
    if config.bin_size is None and is_held:
        for _ in lattice.watch(pieces()):
            pass
    size = config.cell_size(frame_shape, float(lattice.seen.mean()) or 1.0)
    if config.superpixels is None and config.use_polynomial:
        _check_order(frame_shape, size, config, name)
    try:
        fit = _fitted(lambda: lattice.watch(pieces()), frame_shape, size, config)
    except AlgorithmError as error:
        if lattice.was_watched and not lattice.seen.any():
            raise AlgorithmError(
                f"{name} and {reference} have no pixel in common.",
                hint="In --mode global an exposure is matched through others that overlap both.",
            ) from error
        raise AlgorithmError(f"{name}: {_sentence(error.message)}", hint=error.hint) from error
    outside = extrapolated_cells(lattice.seen)
    return replace(fit, covered=float(lattice.seen.mean()), extrapolated=float(outside.mean()))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _check_order(frame_shape: tuple[int, int], size: int, config: MatchConfig, name: str) -> None:
    """Refuse a polynomial of more degrees than cells along the shorter side allow."""
    order, side = config.polynomial.order, min(frame_shape)
    if size > side:
        raise AlgorithmError(
            f"{name}: cells of {size} pixels do not fit in a side of {side}.",
            hint="Choose a smaller --bin-size.",
        )
    count = -(-side // size)
    if order is not None and order > count - 1:
        raise AlgorithmError(
            f"{name}: {count} cells of {size} pixels along a side of {side} do not determine a "
            f"polynomial of order {order}.",
            hint="Choose a smaller --bin-size or --order.",
        )


def _fitted(
    pieces: Pieces, frame_shape: tuple[int, int], size: int, config: MatchConfig
) -> BackgroundFit:
    """Fit the kind of model that the settings name."""
    if config.superpixels is not None:
        return _superpixel_fit(pieces, frame_shape, config)
    grid = CellGrid.from_bin_size(frame_shape, size)
    if config.use_polynomial:
        return _polynomial_fit(pieces, grid, size, config)
    return _spline_fit(pieces, grid, size, config)


def _polynomial_fit(
    pieces: Pieces, grid: CellGrid, size: int, config: MatchConfig
) -> BackgroundFit:
    """Fit a polynomial, of a lower order or on smaller cells where there are too few."""
    rule = config.polynomial
    frame = frame_cells(pieces(), grid, config.cells, order=rule.basis_order)
    report = report_cells(pieces, frame, size, config)
    _refuse_empty(frame, report)
    if rule.order is not None:
        count, order = report.distinct_positions(), rule.order
        if count <= order:
            if rule.undersample is UndersampleStyle.THROW_EXCEPTION:
                raise AlgorithmError(
                    f"cells with a value stand in {count} rows or columns, too few for order "
                    f"{order}",
                    hint="Choose a lower --order or a smaller --bin-size.",
                )
            if rule.undersample is UndersampleStyle.REDUCE_INTERP_ORDER:
                rule = replace(rule, order=count - 1)
            else:
                smaller = max(count * size // (order + 1), 1)
                grid = _finer_grid(grid, smaller, config)
                frame = frame_cells(pieces(), grid, config.cells, order=rule.basis_order)
    weighted = rule.weighted and report.has_scatter(config.stdev_epsilon)
    found = fit_polynomial(frame, rule, weighted=weighted)
    frame = FrameCells(found.cells, frame.basis)
    covered = frame.cells.valid
    reach = config.reach_cells * size
    model = PolynomialModel.bounded(found.fit, grid, covered, reach)
    return _described(
        model,
        frame,
        report,
        pixels_left=found.fit.residual,
        style="polynomial",
        order=found.order,
        smoothing=found.smoothing,
        reduced_chi2=found.fit.reduced_chi2,
        condition=found.fit.condition,
    )


def _finer_grid(grid: CellGrid, smaller: int, config: MatchConfig) -> CellGrid:
    """Return the cells that INCREASE_NXNYSAMPLE takes."""
    if config.increase_as == "count":
        return CellGrid.from_counts(grid.image_shape, (smaller, smaller))
    return CellGrid.from_bin_size(grid.image_shape, smaller)


def _spline_fit(pieces: Pieces, grid: CellGrid, size: int, config: MatchConfig) -> BackgroundFit:
    """Lay curves through the cells."""
    style = grid_rule(config.spline, grid.shape).style  # fails unless it may be reduced
    centered = config.cells.basis == "average"
    rule = replace(config.polynomial, order=None)
    frame = frame_cells(pieces(), grid, config.cells, order=rule.max_order if centered else None)
    report = report_cells(pieces, frame, size, config)
    _refuse_empty(frame, report)
    values = frame.cells.value
    if centered:
        found = fit_polynomial(frame, replace(rule, smoothing=0.0))
        terms = found.fit.model.coefficients[tuple(term_degrees(found.order).T)]
        values = centered_values(frame, terms)
    curves = replace(config.spline, reach=config.reach_cells * size)
    model = SplineModel(
        grid=grid,
        values=values.astype(np.float32),
        spread=(frame.cells.error**2).astype(np.float32),
        rule=curves,
    )
    return _described(
        model,
        frame,
        report,
        pixels_left=np.where(frame.cells.valid, 0.0, np.nan),
        style=str(style),
    )


def _superpixel_fit(
    pieces: Pieces, frame_shape: tuple[int, int], config: MatchConfig
) -> BackgroundFit:
    """Read the model off superpixels."""
    if config.superpixels is None:
        raise ValueError("no rule for superpixels")
    found = superpixels(
        pieces(),
        frame_shape,
        config.superpixels,
        statistic=config.cells.statistic,
        clip=config.cells.clip,
    )
    values = found.filled(config.fill)
    means = found.mean
    return BackgroundFit(
        model=SuperpixelModel(
            shape=frame_shape,
            values=values,
            known=found.valid,
            spread=found.variance,
            superpixels=config.superpixels,
            binning=config.binning,
            rule=config.spline,
        ),
        style="superpixels",
        order=-1,
        smoothing=0.0,
        cells_used=int(found.valid.sum()),
        cells_total=found.valid.size,
        covered=math.nan,
        extrapolated=math.nan,
        fit_rms=float(np.sqrt(np.nanmean((means - values) ** 2))),
        reduced_chi2=math.nan,
        condition=math.nan,
        offset_before=float(np.sqrt(np.nanmean(means**2))),
        offset_after=float(np.sqrt(np.nanmean((means - values) ** 2))),
        maps=CellMaps(means, means - values),
    )


def given_background(
    pieces: Pieces, frame_shape: tuple[int, int], config: MatchConfig, value: float
) -> BackgroundFit:
    """Return a given offset as a model, with figures where the exposures overlap.

    Parameters
    ----------
    pieces : callable
        Returns an iterator over the pieces of the difference.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame.
    config : MatchConfig
        Settings.
    value : float
        The offset [unit of image].
    """
    lattice = Lattice(frame_shape)
    grid = CellGrid.from_bin_size(frame_shape, config.cell_size(frame_shape))
    frame = frame_cells(lattice.watch(pieces()), grid, config.cells)
    model = ConstantModel(value)
    fit = _described(
        model,
        frame,
        CellReport(frame.cells, is_own=True),
        pixels_left=frame.cells.value - value,
        style="given",
        order=0,
    )
    outside = extrapolated_cells(lattice.seen)
    return replace(fit, covered=float(lattice.seen.mean()), extrapolated=float(outside.mean()))


def no_background(frame_shape: tuple[int, int], config: MatchConfig) -> BackgroundFit:
    """Return what the reference gets: nothing."""
    grid = CellGrid.from_bin_size(frame_shape, config.cell_size(frame_shape))
    return BackgroundFit(
        model=ConstantModel(0.0),
        style="none",
        order=0,
        smoothing=0.0,
        cells_used=0,
        cells_total=int(np.prod(grid.shape)),
        covered=1.0,
        extrapolated=0.0,
        fit_rms=0.0,
        reduced_chi2=math.nan,
        condition=math.nan,
        offset_before=0.0,
        offset_after=0.0,
    )


def _refuse_empty(frame: FrameCells, report: CellReport) -> None:
    """Fail where no cell has a value."""
    if not frame.cells.valid.any() or not report.count:
        raise AlgorithmError(
            "no cell has enough good pixels in common with the reference",
            hint="Look at --bad-mask-planes, --mask-sources and --min-fraction.",
        )


def _described(
    model: FrameModel,
    frame: FrameCells,
    report: CellReport,
    *,
    pixels_left: NDArray[np.float64],
    style: str,
    order: int = -1,
    smoothing: float = 0.0,
    reduced_chi2: float = math.nan,
    condition: float = math.nan,
) -> BackgroundFit:
    """Return a fit with its figures."""
    cells = frame.cells
    weights = np.where(cells.valid, cells.kept, 0)
    after = np.nan_to_num(pixels_left)
    total = max(int(weights.sum()), 1)
    return BackgroundFit(
        model=model,
        style=style,
        order=order,
        smoothing=smoothing,
        cells_used=int(cells.valid.sum()),
        cells_total=cells.value.size,
        covered=math.nan,
        extrapolated=math.nan,
        fit_rms=report.misfit(model, pixels_left),
        reduced_chi2=reduced_chi2,
        condition=condition,
        offset_before=float(np.sqrt(np.sum(weights * np.nan_to_num(cells.value) ** 2) / total)),
        offset_after=float(np.sqrt(np.sum(weights * after**2) / total)),
        cell_noise=float(np.sqrt(np.sum(weights * np.nan_to_num(cells.error) ** 2) / total)),
        maps=CellMaps(cells.value, np.where(cells.valid, pixels_left, np.nan)),
    )
