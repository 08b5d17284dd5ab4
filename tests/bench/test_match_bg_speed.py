"""Time and memory of matching, and of its cells beside other programs' meshes."""

import statistics
import sys
import time

import numpy as np
import pytest

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.statistics import Clip, Statistic
from tests.bench.costs import cost
from tests.cli.warping import sky_cards, write_exposure

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

SIDE, N = 4096, 4
PLANE = 4 * SIDE**2
ROUNDS = 3


def write_all(folder, side):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    spots = rng.random((side, side)) < 0.02
    for k in range(N):
        image = rng.standard_normal((side, side), np.float32) * 5 + 30 * k * x * (y - 0.3) + 100
        lost = np.s_[:, k * side // 16 : (k + 1) * side // 16]  # models are extrapolated there
        variance = np.full(image.shape, 25.0, np.float32)
        image[lost], variance[lost] = np.nan, np.inf
        mask = {"DETECTED": spots, "NO_DATA": lost}
        name, sky = folder / f"{side}-{k}.fits", sky_cards((side, side))
        write_exposure(name, image, sky=sky, variance=variance, mask=mask)


def match(side, *options):
    names = [f"{side}-{k}.fits" for k in range(N)]
    command = [sys.executable, "-m", "skytool", "match-bg", *names, "-d", f"out{side}"]
    return [*command, "-q", "--overwrite", *options]


@pytest.mark.parametrize("mode", ["reference", "global"])
def test_many_exposures_cost_little_each(tmp_path, mode, capsys):
    for side in (256, SIDE):
        write_all(tmp_path, side)
    for _ in range(2):  # the first one may compile
        small = cost(match(256, "--mode", mode, "--bin-size", "64"), tmp_path)
    runs = [cost(match(SIDE, "--mode", mode, "--bin-size", "256"), tmp_path) for _ in range(ROUNDS)]
    cpu = statistics.median(run.cpu for run in runs) / N
    planes = (statistics.median(run.memory for run in runs) - small.memory) / PLANE
    with capsys.disabled():
        sys.stdout.write(f"\n{mode}: {cpu:.2f} s CPU an exposure, {planes:.2f} planes beyond the")
        sys.stdout.write(f" {small.memory / 1e6:.0f} MB of small exposures\n")

    assert cpu < 3.0
    assert planes < 6.0


def seconds(function):
    """Least CPU time of a few calls, after one that may compile."""
    function()
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def test_cells_are_far_faster_than_other_meshes(capsys):
    background = pytest.importorskip("photutils.background")
    stats = pytest.importorskip("astropy.stats")
    side, size = 2048, 128
    rng = np.random.default_rng(3)
    image = rng.standard_normal((side, side), np.float32)
    flags = rng.random(image.shape) < 0.02
    grid = CellGrid.from_bin_size(image.shape, size)

    ours = seconds(
        lambda: cell_statistics(image, flags, grid, statistic=Statistic.MEANCLIP, clip=Clip(3, 3))
    )
    theirs = seconds(
        lambda: (
            background.Background2D(
                image,
                size,
                mask=flags,
                filter_size=1,
                sigma_clip=stats.SigmaClip(3, maxiters=3),
                bkg_estimator=background.MeanBackground(),
            ).background_mesh
        )
    )
    lines = [f"ours {ours * 1e3:.1f} ms", f"photutils {theirs / ours:.1f} times as long"]
    try:
        import sep
    except ImportError:
        lines.append("sep is not installed")
    else:
        other = seconds(lambda: sep.Background(image, mask=flags, bw=size, bh=size))
        lines.append(f"sep {other / ours:.1f} times as long")
    with capsys.disabled():
        sys.stdout.write(f"\ncells: {', '.join(lines)}\n")

    assert theirs > 5 * ours
