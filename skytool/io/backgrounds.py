"""Models of the background from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skytool.models.background import Background


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
    from skytool.models.background_hdus import background_from_hdus

    spec = FileSpec.parse(file)
    with opened(spec) as hdus:
        chosen = hdus if spec.extension is None else [selected(hdus, spec)]
        return background_from_hdus(chosen, name=str(spec))
