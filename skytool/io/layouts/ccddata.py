"""Files of astropy's CCDData: the image in the primary, MASK and UNCERT behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.layouts.recipe import MaskPlan, Recipe, VariancePlan, plane_ref, same_shape
from skytool.io.layouts.sci import psf_refs

if TYPE_CHECKING:
    from skytool.io.layouts.contents import Contents, HduInfo

_KINDS = {
    "STD": "error",
    "STDDEVUNCERTAINTY": "error",
    "VAR": "variance",
    "VARIANCEUNCERTAINTY": "variance",
    "IVAR": "weight",
    "INVERSEVARIANCE": "weight",
}


def matches(contents: Contents) -> bool:
    """Return True for an image in the primary with MASK or UNCERT behind it."""
    return contents.hdus[0].plane_shape is not None and contents.named("MASK", "UNCERT") is not None


def recipes(contents: Contents) -> list[Recipe] | None:
    """Return the exposure.

    Raises
    ------
    InputError
        If the kind of the uncertainty is not known.
    """
    image = contents.hdus[0]
    shape = image.plane_shape
    if shape is None:
        return None
    mask, uncertainty = contents.named("MASK"), contents.named("UNCERT")
    variance = VariancePlan()
    if uncertainty is not None:
        plane = same_shape(contents, uncertainty, shape, contents.file_name)
        variance = VariancePlan(_kind(uncertainty, plane.name), (plane,))
    return [
        Recipe(
            "ccddata",
            plane_ref(contents, image),
            shape,
            variance=variance,
            mask=MaskPlan(
                None if mask is None else same_shape(contents, mask, shape, contents.file_name),
                boolean=True,
            ),
            psf=psf_refs(contents),
        )
    ]


def _kind(hdu: HduInfo, name: str) -> str:
    """Return what an uncertainty is; a standard deviation where nothing is said, as astropy."""
    kind = str(hdu.header.get("UTYPE", "STD")).strip().upper()
    if kind not in _KINDS:
        raise InputError(
            f"{name}: the uncertainty UTYPE = {kind} is not known.",
            hint="Known are StdDevUncertainty, VarianceUncertainty and InverseVariance.",
        )
    return _KINDS[kind]
