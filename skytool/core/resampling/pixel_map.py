"""Where the pixels of a target grid lie in a source image, from few exact positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Image = NDArray[np.float64]
    ToSource = Callable[[Image, Image], tuple[Image, Image]]

Method = Literal["polynomial", "linear"]

_POINTS = {"polynomial": 6, "linear": 2}  # nodes of an axis that determine a cell
_MOST_POINTS = 6
_COARSE_STEP = 128.0
_SHORTEST_STEP = 8.0  # with denser nodes, exact positions cost hardly more
_N_CHECKS = 200
_SLACK = 1.0  # [pixel] beyond the last node, for parts of pixels and for neighbours
_REACH = 8.0  # [pixel] beyond the source, more than any kernel


class Window(NamedTuple):
    """A rectangle of whole pixels, stops excluded."""

    y_start: int
    y_stop: int
    x_start: int
    x_stop: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        return self.y_stop - self.y_start, self.x_stop - self.x_start

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this part of an array."""
        return slice(self.y_start, self.y_stop), slice(self.x_start, self.x_stop)

    def intersection(self, other: Window) -> Window:
        """Return the common part, of size zero if there is none."""
        y_start, x_start = max(self.y_start, other.y_start), max(self.x_start, other.x_start)
        return Window(
            y_start,
            max(y_start, min(self.y_stop, other.y_stop)),
            x_start,
            max(x_start, min(self.x_stop, other.x_stop)),
        )


class _Axis:
    """Nodes along one axis and the polynomials between them.

    Every cell is a polynomial through the `n_points` nodes about it (fewer on one side at the
    ends), so that it depends on no others.
    """

    def __init__(self, nodes: Vector, n_points: int) -> None:
        self.nodes = nodes
        self.n_cells = nodes.size - 1
        cells = np.arange(self.n_cells)
        self.stencil = np.clip(cells - n_points // 2 + 1, 0, nodes.size - n_points)
        by_place = np.stack([_monomials(n_points, place) for place in range(n_points - 1)])
        self.matrix = by_place[cells - self.stencil]

    def locate(self, positions: Vector) -> tuple[NDArray[np.intp], Vector]:
        """Return the cell of every position and the place in it, 0 to 1."""
        cell = np.clip(np.searchsorted(self.nodes, positions, "right") - 1, 0, self.n_cells - 1)
        start, stop = self.nodes[cell], self.nodes[cell + 1]
        return cell, (positions - start) / (stop - start)

    def covers(self, positions: Vector) -> NDArray[np.bool_]:
        """Return where positions are between the nodes or close to them."""
        return (positions >= self.nodes[0] - _SLACK) & (positions <= self.nodes[-1] + _SLACK)

    def in_cells(self, at_nodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return for every cell whether all nodes of its polynomial are set, along the last axis."""
        n_points = self.matrix.shape[-1]
        picked = at_nodes[..., self.stencil[:, np.newaxis] + np.arange(n_points)]
        return np.asarray(picked.all(axis=-1))


def _monomials(n_points: int, place: int) -> Image:
    """Return the matrix from values at ``0..n_points - 1`` to powers of ``t - place``."""
    nodes = np.arange(n_points) - float(place)
    return np.asarray(np.linalg.inv(np.vander(nodes, increasing=True)))


class PixelMap:
    """Source positions of target pixels, interpolated between exactly computed nodes.

    Parameters
    ----------
    to_source : function
        ``to_source(x, y) -> (u, v)``: source columns and rows of target columns and rows
        [pixel, 0-based], arrays of float64 of one shape; NaN where there is none.
    shape : tuple of int
        Shape ``(ny, nx)`` of the target.
    source_shape : tuple of int, optional
        Shape of the source. If given, only the `window` that sees it is worked on, and all
        positions outside are NaN.
    step : float
        Distance of the nodes [pixel]; 0 computes every position exactly.
    tolerance : float or None
        Largest error [pixel] that is accepted at 200 fixed pseudo-random points; while it is
        exceeded the step is halved, in the end to exact positions. None accepts any.
    method : str
        ``polynomial``: of degree five through the six nodes about a cell in either axis.
        ``linear``: between the corners of a cell, whose nodes are at ``-1 + k * step``.

    Attributes
    ----------
    window : Window
        Target pixels that may see the source.
    step : float
        Distance of the nodes in the end [pixel]; 0 if all positions are exact.
    max_error : float
        Largest error found at the points of the check [pixel].

    Notes
    -----
    A cell near nodes without position (behind the sky's edge, say) is computed exactly, and no
    other one suffers. The error of a smooth map falls with the sixth power of the step: for a
    polynomial distortion of 10 pixel over a detector of 2048 it is of order 1e-10 pixel at 64.
    """

    def __init__(
        self,
        to_source: ToSource,
        shape: tuple[int, int],
        *,
        source_shape: tuple[int, int] | None = None,
        step: float = 64.0,
        tolerance: float | None = 1e-6,
        method: Method = "polynomial",
    ) -> None:
        if method not in _POINTS:
            msg = f"method {method!r} is none of {', '.join(_POINTS)}"
            raise ValueError(msg)
        self._to_source = to_source
        self.shape = shape
        self._source_shape = source_shape
        self.method = method
        self.window = Window(0, shape[0], 0, shape[1])
        if source_shape is not None:
            self._set_nodes(_COARSE_STEP)
            self._shrink_window()
        self.step = float(step)
        self.max_error = 0.0
        self._refine(tolerance)

    def _refine(self, tolerance: float | None) -> None:
        """Choose the nodes that keep the tolerance."""
        while self.step > 0 and min(self.window.shape) > 0:
            self._set_nodes(self.step)
            self.max_error = self._error()
            if tolerance is None or self.max_error <= tolerance:
                break
            self.step = self.step / 2 if self.step >= 2 * _SHORTEST_STEP else 0.0
        if self.step == 0:
            self.max_error = 0.0
        elif self._source_shape is not None:
            self._shrink_window()

    def _set_nodes(self, step: float) -> None:
        """Compute the exact positions of all nodes in the window."""
        y_start, y_stop, x_start, x_stop = self.window
        ny, nx = self.shape
        n_points = _POINTS[self.method]
        if self.method == "linear":
            self._y = _Axis(_regular_nodes(y_start, y_stop, ny, step), n_points)
            self._x = _Axis(_regular_nodes(x_start, x_stop, nx, step), n_points)
        else:
            self._y = _Axis(_even_nodes(y_start, y_stop, step, n_points), n_points)
            self._x = _Axis(_even_nodes(x_start, x_stop, step, n_points), n_points)
        self._u, self._v = self._exact(self._y.nodes, self._x.nodes)
        # polynomials along the rows of nodes; between the rows their coefficients are interpolated
        self._along_x = np.zeros((self._y.nodes.size, 2, self._x.n_cells, _MOST_POINTS))
        for k, values in enumerate((self._u, self._v)):
            for m in range(n_points):
                at_nodes = values[:, self._x.stencil + m, np.newaxis]
                self._along_x[:, k, :, :n_points] += at_nodes * self._x.matrix[:, :, m]
        finite = np.isfinite(self._u) & np.isfinite(self._v)
        self._interpolated = self._y.in_cells(self._x.in_cells(finite).T).T
        self._seeing = self._cells_seeing_the_source()

    def _exact(self, y: Vector, x: Vector) -> tuple[Image, Image]:
        """Return exact positions of all pairs of rows and columns."""
        columns, rows = np.meshgrid(x, y)
        u, v = self._to_source(columns, rows)
        return np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)

    def _cells_seeing_the_source(self) -> NDArray[np.bool_]:
        """Return which cells may see the source, judged by the rectangle about their corners."""
        unknown = np.zeros((self._y.n_cells, self._x.n_cells), dtype=bool)
        seeing = ~unknown
        if self._source_shape is None:
            return seeing
        for positions, size in ((self._v, self._source_shape[0]), (self._u, self._source_shape[1])):
            corners = np.stack(
                [positions[:-1, :-1], positions[:-1, 1:], positions[1:, :-1], positions[1:, 1:]]
            )
            low, high = np.fmin.reduce(corners), np.fmax.reduce(corners)
            margin = 0.25 * (high - low) + _REACH
            unknown |= ~np.isfinite(low)
            seeing &= (high + margin > 0) & (low - margin < size - 1)
        # The source may be smaller than a cell without any position: only then look there too.
        return seeing if seeing.any() else unknown

    def _shrink_window(self) -> None:
        """Limit the window to the cells that may see the source."""
        rows = np.flatnonzero(self._seeing.any(axis=1))
        columns = np.flatnonzero(self._seeing.any(axis=0))
        if rows.size == 0:
            self.window = Window(0, 0, 0, 0)
            return
        y, x = self._y.nodes, self._x.nodes
        box = Window(
            int(np.ceil(y[rows[0]])),
            int(np.floor(y[rows[-1] + 1])) + 1,
            int(np.ceil(x[columns[0]])),
            int(np.floor(x[columns[-1] + 1])) + 1,
        )
        self.window = self.window.intersection(box)

    def columns(self, y_start: int, y_stop: int) -> tuple[int, int]:
        """Return which columns of the window may see the source in some rows, half-open."""
        if self.step == 0:
            return self.window.x_start, self.window.x_stop
        cells, _ = self._y.locate(np.array([y_start - _SLACK, y_stop - 1 + _SLACK]))
        seeing = np.flatnonzero(self._seeing[cells[0] : cells[1] + 1].any(axis=0))
        if seeing.size == 0:
            return self.window.x_start, self.window.x_start
        start, stop = self._x.nodes[seeing[0]], self._x.nodes[seeing[-1] + 1]
        first = max(self.window.x_start, int(np.ceil(start)))
        return first, max(first, min(self.window.x_stop, int(np.floor(stop)) + 1))

    def positions(self, y: Vector, x: Vector) -> tuple[Image, Image]:
        """Return source positions of all pairs of target rows and columns.

        Parameters
        ----------
        y, x : ndarray of float64, shape (n_y,), (n_x,)
            Rows and columns [pixel], ascending; parts of pixels are allowed, and -1 is the row or
            column before the first.

        Returns
        -------
        u, v : ndarray of float64, shape (n_y, n_x)
            Source columns and rows [pixel]; NaN if there is none, and outside the window unless
            all positions are exact.
        """
        if min(self.window.shape) == 0:
            u, v = np.full((2, y.size, x.size), np.nan)
            return u, v
        if self.step == 0:
            return self._exact(y, x)
        rows, columns = self._y.covers(y), self._x.covers(x)
        if rows.all() and columns.all():
            return self._interpolate(y, x)
        u, v = np.full((2, y.size, x.size), np.nan)
        inside = np.ix_(rows, columns)
        u[inside], v[inside] = self._interpolate(y[rows], x[columns])
        return u, v

    def _interpolate(self, y: Vector, x: Vector) -> tuple[Image, Image]:
        """Return positions between the nodes."""
        from skytool.core.resampling.position_loops import polynomial_rows

        cell_y, place_y = self._y.locate(y)
        cell_x, place_x = self._x.locate(x)
        starts = np.searchsorted(cell_x, np.arange(self._x.n_cells + 1))
        n_points = self._y.matrix.shape[-1]
        powers = place_y[:, np.newaxis] ** np.arange(n_points)
        weights = np.einsum("rp,rpm->rm", powers, self._y.matrix[cell_y])
        stencil_y = self._y.stencil[cell_y]
        cells = slice(cell_x[0], cell_x[-1] + 1)
        coefficients = np.zeros((y.size, 2, cells.stop - cells.start, _MOST_POINTS))
        for m in range(n_points):
            nodes = self._along_x[stencil_y + m, :, cells]
            coefficients += weights[:, m, np.newaxis, np.newaxis, np.newaxis] * nodes
        u, v = out = np.empty((2, y.size, x.size))
        polynomial_rows(coefficients, starts[cells.start : cells.stop + 1], place_x, out)
        if not self._interpolated.all():
            self._replace_by_exact(y, x, cell_y, starts, u, v)
        return u, v

    def _replace_by_exact(
        self,
        y: Vector,
        x: Vector,
        cell_y: NDArray[np.intp],
        starts: NDArray[np.intp],
        u: Image,
        v: Image,
    ) -> None:
        """Compute the positions in cells that lack nodes, in place."""
        for cell in np.unique(cell_y):
            rows = np.flatnonzero(cell_y == cell)
            lacking = (~self._interpolated[cell]).repeat(np.diff(starts))
            columns = np.flatnonzero(lacking)
            if columns.size:
                at = np.ix_(rows, columns)
                u[at], v[at] = self._exact(y[rows], x[columns])

    def _error(self) -> float:
        """Return the largest error at pseudo-random points that see the source [pixel]."""
        rng = np.random.default_rng(20041116)
        window = self.window
        y = window.y_start - 1 + window.shape[0] * rng.random(_N_CHECKS)
        x = window.x_start - 1 + window.shape[1] * rng.random(_N_CHECKS)
        u, v = self._to_source(x, y)
        order_y, order_x = np.argsort(y), np.argsort(x)
        on_grid = self._interpolate(y[order_y], x[order_x])
        at = np.argsort(order_y), np.argsort(order_x)
        error = np.hypot(on_grid[0][at] - u, on_grid[1][at] - v)
        checked = np.isfinite(error)
        if self._source_shape is not None:
            ny, nx = self._source_shape
            checked &= (u > -_REACH) & (u < nx + _REACH) & (v > -_REACH) & (v < ny + _REACH)
        return float(error[checked].max(initial=0.0))


def _even_nodes(start: int, stop: int, step: float, n_points: int) -> Vector:
    """Return evenly spaced nodes from the pixel before the first to the last one."""
    n_cells = max(n_points - 1, int(np.ceil((stop - start) / step)))
    return np.linspace(start - 1.0, max(stop - 1.0, float(start)), n_cells + 1)


def _regular_nodes(start: int, stop: int, size: int, step: float) -> Vector:
    """Return nodes at ``-1 + k * step`` that enclose a range; the last one is the last pixel's."""
    first = -1.0 + step * np.floor(start / step)
    nodes = np.append(np.arange(first, stop - 1, step), stop - 1)
    nodes[-1] = min(size - 1.0, nodes[-2] + step)
    return nodes
