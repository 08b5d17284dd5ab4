"""Weighted sums over the small square of pixels around a position, in vector instructions.

The compiler does not vectorise sums of a fixed odd length like six; written as operations on
vectors of that length they take half the time. They run on any processor: the code generator
splits the vectors into what it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTRACT = ("contract",)  # a product and a sum may be one instruction
_LANE = ir.IntType(32)
_DOUBLE = ir.DoubleType()


def _splat(builder: Any, vector: Any, lane: int) -> Any:
    """Return a vector that repeats one element of another."""
    lanes = ir.Constant(ir.VectorType(_LANE, vector.type.count), [lane] * vector.type.count)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), lanes)


def _element_address(context: Any, builder: Any, kind: Any, array: Any, y: Any, x: Any) -> Any:
    """Return the address of element (y, x) of a two-dimensional array, and its row stride."""
    view = context.make_array(kind)(context, builder, array)
    row, column = (builder.extract_value(view.strides, axis) for axis in range(2))
    offset = builder.add(builder.mul(row, y), builder.mul(column, x))
    address = builder.ptrtoint(view.data, offset.type)
    return builder.add(address, offset), row


def _load(builder: Any, address: Any, element: Any, count: int) -> Any:
    """Return consecutive elements as a vector of doubles."""
    kind = ir.VectorType(element, count)
    size = 8 if element == _DOUBLE else 4
    values = builder.load(builder.inttoptr(address, kind.as_pointer()), align=size)
    if element == _DOUBLE:
        return values
    return builder.fpext(values, ir.VectorType(_DOUBLE, count))


def _weights(context: Any, builder: Any, kind: Any, table: Any, at: tuple[Any, Any], n: int) -> Any:
    """Return the weights between two rows of a table as a vector."""
    row, between = at
    zero = ir.Constant(row.type, 0)
    address, stride = _element_address(context, builder, kind, table, row, zero)
    low = _load(builder, address, _DOUBLE, n)
    high = _load(builder, builder.add(address, stride), _DOUBLE, n)
    undefined = ir.Constant(low.type, ir.Undefined)
    share = _splat(builder, builder.insert_element(undefined, between, ir.Constant(_LANE, 0)), 0)
    step = builder.fmul(share, builder.fsub(high, low), flags=_CONTRACT)
    return builder.fadd(low, step, flags=_CONTRACT)


def _sum_code(squared: bool) -> Any:  # noqa: FBT001
    """Return the code generator of a sum under the weights or under their squares."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        plane, y, x, table, row_y, between_y, row_x, between_x, _ = args
        n = len(signature.args[-1])
        kind = signature.args[3]
        along_y = _weights(context, builder, kind, table, (row_y, between_y), n)
        along_x = _weights(context, builder, kind, table, (row_x, between_x), n)
        if squared:
            along_y = builder.fmul(along_y, along_y)
            along_x = builder.fmul(along_x, along_x)
        address, stride = _element_address(context, builder, signature.args[0], plane, y, x)
        element = context.get_data_type(signature.args[0].dtype)
        total = ir.Constant(along_y.type, [0.0] * n)
        for k in range(n):
            values = _load(builder, address, element, n)
            product = builder.fmul(values, _splat(builder, along_y, k), flags=_CONTRACT)
            total = builder.fadd(product, total, flags=_CONTRACT)
            address = builder.add(address, stride)
        total = builder.fmul(total, along_x)
        parts = [builder.extract_element(total, ir.Constant(_LANE, k)) for k in range(n)]
        while len(parts) > 1:
            pairs = [builder.fadd(a, b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
            parts = pairs + parts[2 * len(pairs) :]
        return parts[0]

    return generate


def _signature(plane: Any, table: Any, taps: Any) -> Any:
    """Return the types of the arguments of a sum."""
    place = (types.intp, types.float64)
    return types.float64(plane, types.intp, types.intp, table, *place, *place, taps)


def _callable(function: Callable[..., Any]) -> Callable[..., float]:
    """Return a function of compiled code, made from one that returns its code generator."""
    return cast("Callable[..., float]", intrinsic(function))


@_callable
def weighted_sum(
    typingctx: Any,  # noqa: ARG001
    plane: Any,
    y: Any,  # noqa: ARG001
    x: Any,  # noqa: ARG001
    table: Any,
    row_y: Any,  # noqa: ARG001
    between_y: Any,  # noqa: ARG001
    row_x: Any,  # noqa: ARG001
    between_x: Any,  # noqa: ARG001
    taps: Any,
) -> Any:
    """Return the sum over a square of pixels under a product of two rows of weights.

    The square has the side ``len(taps)`` and starts at the pixel (y, x); the weights along y are
    between the rows `row_y` and ``row_y + 1`` of `table`, at the share `between_y`, and so along
    x. Nothing is checked: the square must lie on the plane.
    """
    return _signature(plane, table, taps), _sum_code(squared=False)


@_callable
def squared_weighted_sum(
    typingctx: Any,  # noqa: ARG001
    plane: Any,
    y: Any,  # noqa: ARG001
    x: Any,  # noqa: ARG001
    table: Any,
    row_y: Any,  # noqa: ARG001
    between_y: Any,  # noqa: ARG001
    row_x: Any,  # noqa: ARG001
    between_x: Any,  # noqa: ARG001
    taps: Any,
) -> Any:
    """Return the same as `weighted_sum` under the squared weights."""
    return _signature(plane, table, taps), _sum_code(squared=True)
