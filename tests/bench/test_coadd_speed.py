import json
import subprocess
import sys
import time

import numpy as np
import pytest

from skytool.core.stacks.coadd import CoaddBits, CoaddPlanes, Tally, coadd
from tests.cli.coadding import write_warp
from tests.cli.warping import sky_cards

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

N, SHAPE = 10, (1024, 1024)
PLANE = 4 * SHAPE[0] * SHAPE[1]
BITS = CoaddBits(
    no_data=1,
    bad=2,
    edge=4,
    clipped=8,
    rejected=16,
    sensor_edge=32,
    inexact_psf=64,
    suspect=128,
)
MEASURED = """
import json, resource, runpy, sys
sys.argv = ["skytool", *sys.argv[1:]]
try:
    runpy.run_module("skytool", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
used = resource.getrusage(resource.RUSAGE_SELF)  # its largest memory is that of the parent
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps([used.ru_utime + used.ru_stime, peak]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(2)
    images = rng.normal(0, 3, (N, *SHAPE)).astype(np.float32)
    images[rng.random(images.shape) < 0.001] += 300
    return images


def combined(images, statistic):
    out = CoaddPlanes.empty(SHAPE)
    coadd(
        images,
        np.full(images.shape, 9, np.float32),
        np.zeros(images.shape, np.int32),
        weights=np.ones(N),
        bits=BITS,
        out=out,
        tally=Tally.zero(N),
        rows=slice(0, SHAPE[0]),
        statistic=statistic,
    )
    return out


def least_cpu(function, repeats=3):
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize(("statistic", "share"), [("mean", 1.5), ("meanclip", 3), ("median", 3)])
def test_combining_planes_takes_a_few_medians_by_numpy(images, statistic, share, capsys):
    cpu = least_cpu(lambda: combined(images, statistic))
    median = least_cpu(lambda: np.median(images, axis=0))  # of the image alone, without a mask

    with capsys.disabled():
        sys.stdout.write(f"\n{statistic}: {cpu:.3f} s; numpy's median {median:.3f} s\n")
    assert cpu < share * median


def run_measured(*args):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "-q", *map(str, args)],
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, peak = json.loads(done.stderr.splitlines()[-1])
    return cpu, peak * 1024


def test_memory_does_not_grow_with_the_number_of_warps(images, tmp_path, capsys):
    paths = [
        write_warp(tmp_path / f"{k}.fits", image, visit=k, sky=sky_cards(SHAPE), variance=9.0)
        for k, image in enumerate(images)
    ]
    output = tmp_path / "c.fits"
    run_measured("coadd", *paths, "-o", output)

    few = run_measured("coadd", *paths[:3], "-o", output, "--overwrite", "--strip-memory", 16)
    many = run_measured("coadd", *paths, "-o", output, "--overwrite", "--strip-memory", 16)
    usual = run_measured("coadd", *paths, "-o", output, "--overwrite")

    with capsys.disabled():
        for name, (cpu, peak) in {"3 warps": few, "10 warps": many, "64 MiB": usual}.items():
            sys.stdout.write(f"\n{name}: {cpu:.2f} s, {peak / 2**20:.0f} MiB")
        sys.stdout.write("\n")
    assert many[1] < few[1] + 3 * PLANE
    assert many[1] < 200e6 + 20 * PLANE
    assert usual[1] < few[1] + (100 << 20)
