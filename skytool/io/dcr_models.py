"""DCR models in files: one with all subfilters, or one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.errors import InputError
from skytool.io.filespec import FileSpec
from skytool.io.fits import opened
from skytool.models.dcr.hdus import KIND, model_from_exposures, model_from_hdus
from skytool.models.exposure_hdus import check_format, from_hdus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.models.dcr.model import DcrModel
    from skytool.models.exposure import Exposure


def read_dcr_models(files: Sequence[str], *, allow_missing: bool = False) -> list[DcrModel]:
    """Read models.

    Parameters
    ----------
    files : sequence of str
        Files of a model each; those of single subfilters, of any number of models, are put
        together by their place and coordinates.
    allow_missing : bool
        Whether subfilters may be missing, which then have no flux.

    Raises
    ------
    InputError
        If a file cannot be read or holds no model, or subfilters are missing.
    IncompatibleError
        If files of subfilters do not fit together.
    """
    models: list[DcrModel] = []
    single: dict[object, list[Exposure]] = {}
    for file in files:
        spec = FileSpec.parse(file)
        name = spec.path.name
        with opened(spec) as hdus:
            if "SKYFMT" not in hdus[0].header:
                raise InputError(
                    f"{name} holds neither a DCR model nor a subfilter of one.",
                    hint="skytool dcr-assemble makes models.",
                )
            if check_format(hdus[0].header, name=name) == KIND and "DCRNUM" in hdus[0].header:
                models.append(model_from_hdus(hdus, name=name, allow_missing=allow_missing))
                continue
            exposure = from_hdus(hdus, name=name)
        if "SUBFILT" not in exposure.header:
            raise InputError(
                f"{name} holds neither a DCR model nor a subfilter of one.",
                hint="skytool dcr-assemble makes models.",
            )
        single.setdefault((exposure.origin, exposure.shape), []).append(exposure)
    models += [
        model_from_exposures(parts, name=parts[0].name, allow_missing=allow_missing)
        for parts in single.values()
    ]
    return models
