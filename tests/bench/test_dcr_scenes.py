"""How good DCR models of scenes are that another program draws."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

BAND = [
    "--effective-wavelength",
    "476.35",
    "--bandwidth",
    "147.5",
    "--reference-wavelength",
    "481.569",
]
HELD_OUT = 1.571  # airmass
REACH = 10.0  # pixel, around stars


def skytool(*args):
    subprocess.run([sys.executable, "-m", "skytool", *map(str, args)], check=True)


@pytest.fixture(scope="module", params=[1, 2])
def scene(request, shared, tmp_path_factory):
    """Return a folder with eight exposures of stars with spectra of all slopes."""
    if importlib.util.find_spec("galsim") is None:
        pytest.skip("galsim, which draws the scenes, is not installed")
    folder = tmp_path_factory.mktemp("scene")
    tool = str(shared / "bench" / "make_scenes.py")
    command = [sys.executable, tool, "dcr", "--seed", str(request.param), "--out", str(folder)]
    subprocess.run(command, check=True)
    return folder


def modelled(files, output):
    """Make a model of exposures."""
    options = [*BAND, "--refraction", "filippenko", "--trust-parang"]
    skytool("dcr-assemble", *files, "-o", output, *options)
    return output


def template(model, science, output):
    """Make a template of a model."""
    skytool("dcr-template", model, "--for", science, "-o", output, "--trust-parang")
    return output


def test_templates_add_little_to_differences_at_bright_stars(scene, shared, tmp_path):
    files = sorted(scene.glob("exp*.fits"))
    model = modelled(files, tmp_path / "model.fits")
    added = []
    for number, science in enumerate(files):
        made = template(model, science, tmp_path / f"t{number}.fits")
        command = [sys.executable, shared / "bench" / "metrics.py", "dcr", "--scene", scene]
        command += ["--exp", number, "--template", f"{made}:IMAGE"]
        found = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
        added.append(json.loads(found.stdout)["chi2_added_bright"])

    assert np.mean(added) < 0.025


def test_differences_have_no_false_sources_near_stars(scene, tmp_path):
    files = sorted(scene.glob("exp*.fits"))
    airmasses = [fits.getheader(path)["AIRMASS"] for path in files]
    science = files.pop(int(np.argmin(np.abs(np.subtract(airmasses, HELD_OUT)))))
    model = modelled(files, tmp_path / "model.fits")
    matched = template(model, science, tmp_path / "t.fits")
    skytool("coadd", *files, "-o", tmp_path / "coadd.fits")
    stars = fits.getdata(scene / "truth.fits", "STARS")

    counts = []
    for number, image in enumerate((matched, tmp_path / "coadd.fits")):
        sources = tmp_path / f"s{number}.fits"
        difference = tmp_path / f"d{number}.fits"
        skytool("diffim", science, image, "-o", difference, "--sources", sources)
        with fits.open(sources) as hdus:
            table = next(hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)).data
            far = np.hypot(
                stars["x"][:, None] - table["PEAKX"], stars["y"][:, None] - table["PEAKY"]
            )
            counts.append(int((far.min(axis=0) < REACH).sum()) if len(table) else 0)

    assert counts[1] > 10
    assert 5 * counts[0] <= counts[1]
