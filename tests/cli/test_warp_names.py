"""Options in the names of the configuration of LSST's warps."""

import re

import pytest

from tests.cli.warping import run

FIELDS = {
    "the command line": "selectId reuse",
    "the task": "bgSubtracted doApplySkyCorr doApplyExternalPhotoCalib doApplyExternalSkyWcs "
    "doApplyFlatBackgroundRatio includeCalibVar makeDirect makePsfMatched matchingKernelSize "
    "badMaskPlanes doWriteEmptyWarps doWarpMaskedFraction numberOfNoiseRealizations seedOffset",
    "selection": "maxEllipResidual maxSizeScatter maxScaledSizeScatter maxPsfFwhm "
    "maxPsfTraceRadiusDelta maxPsfApFluxDelta maxPsfApCorrSigmaScaledDelta minNPsfStarPerBand "
    "maxStarEPerBand",
    "warping": "warpingKernelName maskWarpingKernelName growFullMask interpLength",
    "the model PSF": "defaultFwhm addWing wingFwhmFactor wingAmplitude sizeFactor minSize maxSize",
    "the match": "kernelSize sizeCellX sizeCellY spatialKernelOrder alardSigGauss alardDegGauss "
    "doAutoPadPsf autoPadPsfTo padPsfBy",
}


def kebab_case(name):
    return "--" + re.sub(r"([A-Z])", r"-\1", name).lower()


@pytest.mark.parametrize("of", FIELDS)
def test_fields_have_options_of_their_names(of):
    known = set(re.findall(r"--[a-z][\w-]*", run("warp", "--help").stdout))

    assert {kebab_case(name) for name in FIELDS[of].split()} <= known


def test_values_reach_the_settings():
    """What the guide to the configuration of the match sets."""
    guide = {
        "kernel-size": 27,
        "size-cell-x": 64,
        "size-cell-y": 64,
        "auto-pad-psf-to": 1.6,
        "default-fwhm": 11,
        "alard-sig-gauss": "1.5,3.0,6.0",
    }
    options = [part for name, value in guide.items() for part in (f"--{name}", value)]
    printed = run("warp", "--print-config", *options, "--make-psf-matched").stdout

    for line in (
        "kernel-size = 27",
        "size-cell-x = 64",
        "size-cell-y = 64",
        "auto-pad-to = 1.6",
        'model-fwhm = "11"',
        "alard-sig-gauss = [1.5, 3.0, 6.0]",
        "psf-matched = true",
    ):
        assert f"\n{line}  # command line" in printed


def test_every_field_of_the_published_guide_is_an_option(shared):
    """The documentation of MakeCoaddTempExpTask: lines of configuration, and its example."""
    pages = [path.read_text() for path in sorted((shared / "seeds").glob("*.txt"))]
    page = next(text for text in pages if "MakeCoaddTempExpConfig" in text)
    named = re.findall(r"config\.[\w.\[\]']*?(\w+) ?=", page)
    named += re.findall(r"[\w.]*?(do[A-Z]\w+|make[A-Z]\w+|defaultFwhm)=", page)
    named += re.findall(r"--(selectId|reuse)\b", page) + re.findall(r"\b(reuse)=False", page)
    known = set(re.findall(r"--[a-z][\w-]*", run("warp", "--help").stdout))

    assert {
        *("kernelSize", "sizeCellX", "sizeCellY", "autoPadPsfTo", "doAutoPadPsf", "padPsfBy"),
        *("defaultFwhm", "alardSigGauss", "makePsfMatched", "doApplyExternalSkyWcs", "selectId"),
        *("doApplyExternalPhotoCalib", "reuse"),
    } <= set(named)
    assert {kebab_case(name) for name in named} <= known
