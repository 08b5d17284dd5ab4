"""Models of the background from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from skytool.models.background.hdus import Background
    from skytool.models.exposure import Exposure

_LAYERS = frozenset({"BKG", "BKGMASK", "BKGVAR"})


def read_background(file: str) -> Background:
    """Read a model of the background: stored layers, a list of LSST, or an image.

    Parameters
    ----------
    file : str
        ``FILE`` or ``FILE[EXT]``; BUNIT gives the unit.

    Raises
    ------
    InputError
        If the file cannot be read or holds no model.
    """
    from skytool.io.filespec import FileSpec
    from skytool.io.fits import opened, selected
    from skytool.models.background.hdus import background_from_hdus

    spec = FileSpec.parse(file)
    with opened(spec) as hdus:
        chosen = hdus if spec.extension is None else [selected(hdus, spec)]
        return background_from_hdus(chosen, name=str(spec))


def background_datasum(file: str) -> str:
    """Return the DATASUM of a model: of the extension that is named, or the first with pixels.

    Raises
    ------
    InputError
        If the file cannot be read or has no such extension.
    """
    from skytool.io.filespec import FileSpec
    from skytool.io.fits import data_sums, opened, selected

    spec, sums = FileSpec.parse(file), data_sums(file)
    with opened(spec) as hdus:
        if spec.extension is not None:
            return sums[hdus.index_of(selected(hdus, spec))]
        return next((sum_ for hdu, sum_ in zip(hdus, sums, strict=True) if hdu.shape), sums[0])


def stored_background(exposure: Exposure) -> Background:
    """Return the layers of background that an exposure carries.

    Raises
    ------
    IncompatibleError
        If it carries none.
    InputError
        If they are damaged.
    """
    from skytool.models.background.hdus import background_from_hdus

    layers = [hdu for hdu in exposure.extensions if hdu.name in _LAYERS]
    if not layers:
        raise IncompatibleError(
            f"{exposure.name} stores no background.", hint="Name a file that holds it."
        )
    return background_from_hdus(layers, name=exposure.name)
