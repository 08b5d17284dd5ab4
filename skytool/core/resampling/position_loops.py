"""The compiled loop that finds source positions between the nodes of a pixel map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytool.core.compiled import compiled_in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[Any]


@compiled_in_order
def polynomial_rows(coefficients: Plane, starts: Plane, places: Plane, out: Plane) -> None:
    """Evaluate two polynomials a cell and row at the pixels of every cell.

    `coefficients` has shape ``(n_rows, 2, n_cells, 6)``, ascending powers; the pixels
    ``starts[k]..starts[k + 1] - 1`` lie in cell `k`, at `places` from 0 to 1 in it. `out` has the
    shape ``(2, n_rows, n_pixels)``.
    """
    n_rows, n_values, n_cells, _ = coefficients.shape
    for row in range(n_rows):
        for value in range(n_values):
            for cell in range(n_cells):
                line = out[value, row, starts[cell] : starts[cell + 1]]
                inside = places[starts[cell] : starts[cell + 1]]
                powers = coefficients[row, value, cell]
                c0, c1, c2 = powers[0], powers[1], powers[2]
                c3, c4, c5 = powers[3], powers[4], powers[5]
                for i in range(line.shape[0]):
                    t = inside[i]
                    line[i] = c0 + t * (c1 + t * (c2 + t * (c3 + t * (c4 + t * c5))))
