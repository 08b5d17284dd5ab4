import json

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.differencing import SHAPE, run, small_pair, written
from tests.stages.pairs import SIGMA_TEMPLATE, drawn, exposure, pair


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Science image and template, and what is in them."""
    return small_pair(tmp_path_factory.mktemp("pair"))


def attempt(science, template, folder, *args, status=0):
    """Write a pair and subtract."""
    names = written(science, folder / "a.fits"), written(template, folder / "b.fits")
    return run(*names, "-o", folder / "d.fits", "--json", *args, status=status)


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--kernel-size-min", "20"], 2, "odd"),
        (["--alard-n-gauss", "2"], 2, "2 Gaussians but 3 degrees"),
        (["--mode", "both"], 2, "both"),
        (["--catalog", "none.csv"], 3, "none.csv does not exist"),
        (["--kernel-in", "none.fits"], 3, "none.fits"),
        (["--min-kernel-sources", "500"], 5, "500 are required"),
    ],
)
def test_what_cannot_be_is_refused(files, tmp_path, args, status, message):
    names, *_ = files

    result = run(*names, "-o", tmp_path / "d.fits", *args, status=status)

    assert message in result.stderr
    assert not (tmp_path / "d.fits").exists()


def test_a_file_without_a_kernel_is_no_kernel(files, tmp_path):
    names, *_ = files

    result = run(*names, "-o", tmp_path / "d.fits", "--kernel-in", names[1], status=3)

    assert "holds no matching kernel: KERNEL, KBASIS" in result.stderr


def test_a_list_without_positions_is_refused(files, tmp_path):
    names, *_ = files
    (tmp_path / "list.csv").write_text("id,flux\n1,2.0\n")

    result = run(*names, "-o", tmp_path / "d.fits", "--catalog", tmp_path / "list.csv", status=3)

    assert "no columns with positions" in result.stderr
    assert "ID, FLUX" in result.stderr


def test_exposures_of_two_filters_are_refused(files, tmp_path):
    names, _, (_, template) = files
    header = template.header.copy()
    header["FILTER"] = "g"
    other = written(template.with_values(header=header), tmp_path / "g.fits")

    assert "filters differ" in run(names[0], other, "-o", tmp_path / "d.fits", status=4).stderr


def test_a_bad_subtraction_is_an_error_after_the_file_is_written(files, tmp_path):
    names, *_ = files

    result = run(
        *names, "-o", tmp_path / "d.fits", "--bad-subtraction-ratio-threshold", "1e-6", status=5
    )

    assert "bad subtraction" in result.stderr
    assert (tmp_path / "d.fits").exists()


@pytest.mark.parametrize("which", [0, 1])
def test_an_absurd_variance_is_an_error_that_names_the_factor(files, tmp_path, which):
    images = list(files[2])
    images[which] = images[which].with_values(variance=images[which].variance / np.float32(13))

    result = attempt(*images, tmp_path, status=5)

    assert f"the scatter of {'ab'[which]}.fits is 1" in result.stderr
    assert "at most 10 is believed" in result.stderr
    assert "--no-do-scale-variance" in result.stderr


def test_a_file_against_itself_leaves_nothing_and_is_warned_of(files, tmp_path):
    science = files[2][0]

    line = json.loads(attempt(science, science, tmp_path).stdout)

    assert "a.fits and b.fits have the same pixels" in line["warnings"][0]
    assert line["metrics"]["kernel_sum"] == pytest.approx(1.0, abs=2e-3)
    with fits.open(tmp_path / "d.fits") as hdus:
        # the basis has no kernel of a single pixel
        assert np.abs(hdus["IMAGE"].data).max() < 5e-3 * science.image.max()


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_constant_images_are_refused(files, tmp_path, which):
    images = [
        each.with_values(image=np.full(SHAPE, 7.0, np.float32)) if number in which else each
        for number, each in enumerate(files[2])
    ]

    stderr = attempt(*images, tmp_path, status=5).stderr

    assert f"{'ab'[which[0]]}.fits has one value in all its pixels" in stderr


@pytest.mark.parametrize(("count", "found"), [(0, "0 of 0"), (1, "1 of 1")])
def test_too_few_stars_are_counted(tmp_path, count, found):
    fluxes = (4.0, 4.3) if count else (-3.0, -2.0)
    science, template, _ = pair(np.random.default_rng(6), shape=SHAPE, count=1, fluxes=fluxes)

    stderr = attempt(science, template, tmp_path, status=5).stderr

    assert f"a.fits: {found} sources are fit for the kernel, 3 are required" in stderr
    assert "--detection-threshold" in stderr


def test_stars_that_are_all_saturated_are_counted(files, tmp_path):
    science, template = files[2]
    flagged = template.mask.with_flagged(template.image > 20, "SAT")

    stderr = attempt(science, template.with_values(mask=flagged), tmp_path, status=5).stderr

    assert "0 of 27 sources are fit" in stderr
    assert "27 masked middle" in stderr


def test_a_template_half_a_pixel_off_is_matched_and_reported(files, tmp_path):
    (y, x, flux), (science, _) = files[1:]
    noise = np.random.default_rng(1).normal(size=SHAPE)
    moved = drawn(SHAPE, y + 0.5, x, flux, SIGMA_TEMPLATE) + noise
    template = exposure(moved, 1.0, SIGMA_TEMPLATE, name="b.fits")

    metrics = json.loads(attempt(science, template, tmp_path).stdout)["metrics"]

    assert metrics["kernel_shift_y"] == pytest.approx(-0.5, abs=0.01)
    assert metrics["kernel_shift_x"] == pytest.approx(0.0, abs=0.01)


def test_blocks_without_values_are_flagged_and_finite(files, tmp_path):
    science, template = files[2]
    holes = [each.image.copy() for each in (science, template)]
    holes[0][50:90, 60:130] = np.nan
    holes[1][150:180, 200:240] = np.nan

    attempt(
        *(each.with_values(image=hole) for each, hole in zip(files[2], holes, strict=True)),
        tmp_path,
    )

    with fits.open(tmp_path / "d.fits") as hdus:
        lost = (hdus["MASK"].data >> hdus["MASK"].header["MP_NO_DATA"]) & 1 != 0
        assert lost[50:90, 60:130].all()
        assert lost[150:180, 200:240].all()
        assert np.mean(lost) < 0.12
        assert np.isfinite(hdus["IMAGE"].data[~lost]).all()


def test_an_image_without_any_value_covers_nothing(files, tmp_path):
    science, template = files[2]
    empty = science.with_values(image=np.full(SHAPE, np.nan, np.float32))

    assert "covers 0.0% of a.fits" in attempt(empty, template, tmp_path, status=6).stderr


@pytest.mark.parametrize("damage", ["missing", "nan", "shape", "card"])
def test_a_damaged_kernel_is_refused(files, tmp_path, damage):
    names, *_ = files
    run(*names, "-o", tmp_path / "d.fits", "--kernel-out", tmp_path / "k.fits")
    with fits.open(tmp_path / "k.fits") as hdus:
        if damage == "missing":
            del hdus["KCOEFF"]
        elif damage == "nan":
            hdus["KBASIS"].data[0, 0, 0] = np.nan
        elif damage == "shape":
            hdus["KCOEFF"].data = hdus["KCOEFF"].data[:-1]
        else:
            hdus["KERNEL"].header.remove("KVARSCI")
        hdus.writeto(tmp_path / "bad.fits")
    reason = {
        "missing": "is truncated: it has 9 of 10 extensions",
        "nan": "KBASIS is no finite array",
        "shape": "do not go together",
        "card": "KVARSCI",
    }

    result = run(*names, "-o", tmp_path / "e.fits", "--kernel-in", tmp_path / "bad.fits", status=3)

    assert reason[damage] in result.stderr


@pytest.mark.parametrize("option", ["-o", "--score", "--sources", "--kernel-out", "--regions"])
def test_every_product_that_is_there_already_is_refused_before_work(files, tmp_path, option):
    names, *_ = files
    (tmp_path / "there").write_text("precious")
    args = [option, tmp_path / "there"]
    if option != "-o":
        args += ["-o", tmp_path / "d.fits"]

    result = run(*names, *args, status=3)

    assert "there" in result.stderr
    assert (tmp_path / "there").read_text() == "precious"
    assert not (tmp_path / "d.fits").exists()


def test_two_products_in_one_file_are_refused(files, tmp_path):
    names, *_ = files

    same = tmp_path / "d.fits"
    result = run(*names, "-o", same, "--score", same, status=3)

    assert "d.fits would be written twice" in result.stderr
    assert not same.exists()


def test_settings_are_printed_without_any_work(files, tmp_path):
    names, *_ = files

    printed = run(*names, "-o", tmp_path / "d.fits", "--mode", "auto", "--print-config").stdout

    assert 'mode = "auto"' in printed
    assert not (tmp_path / "d.fits").exists()
