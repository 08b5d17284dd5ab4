import importlib.util
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from skytool.cli import options
from skytool.cli.main import cli
from skytool.cli.param_types import GridSizeType, SkyPositionType
from tests.cli.toy import count, program, run, show_reading


def paths_of(result):
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


# --- inputs -----------------------------------------------------------------------------------


def test_a_list_names_files_relative_to_its_folder(folder):
    (folder / "night").mkdir()
    for name in ("x 1.fits", "y.fits"):
        (folder / "night" / name).write_text(name)
    (folder / "night" / "list.txt").write_text(
        f"# first\nx 1.fits   # a name with a space\n\n  y.fits\n{folder}/b.fits\n../a.fits\n"
    )
    result = run("count", "@night/list.txt", "warn.fits", "-d", "out")

    assert result.exit_code == 0, result.stderr
    assert paths_of(result) == [
        "out/x 1.fits",
        "out/y.fits",
        "out/b.fits",
        "out/a.fits",
        "out/warn.fits",
    ]


def test_a_list_may_come_from_standard_input(folder):
    result = run("count", "@-", "-d", "out", input="a.fits\nb.fits\n")

    assert paths_of(result) == ["out/a.fits", "out/b.fits"]


def test_a_list_of_another_system_is_read(folder):
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbfa.fits\r\nb.fits\r\n")

    assert paths_of(run("count", "@list.txt", "-d", "out")) == ["out/a.fits", "out/b.fits"]


def test_missing_entries_are_reported_together_with_their_lines(folder):
    (folder / "list.txt").write_text("a.fits\nno1.fits\n# c\nno2.fits[1]\n@other.txt\n")
    result = run("count", "@list.txt", "-d", "out")

    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    for words in (
        "line 2: no file no1.fits",
        "line 4: no file no2.fits[1]",
        "line 5: @other.txt is a list in a list",
    ):
        assert words in result.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_an_empty_list_is_a_usage_error(folder, text):
    (folder / "list.txt").write_text(text)

    assert run("count", "@list.txt", "-d", "out").exit_code == 2


def test_a_missing_list_is_a_usage_error(folder):
    result = run("count", "@no.txt", "-d", "out")

    assert result.exit_code == 2
    assert "@no.txt: No such file" in result.stderr


def test_a_file_may_begin_with_the_sign_of_a_list(folder):
    (folder / "@odd.fits").write_text("odd")

    assert paths_of(run("count", "./@odd.fits", "-d", "out")) == ["out/@odd.fits"]


def test_a_pattern_that_matches_nothing_says_so(folder):
    result = run("count", "*.tif", "-d", "out")

    assert result.exit_code == 3
    assert "no file matches *.tif." in result.stderr


def test_a_file_whose_name_has_a_star_is_a_file(folder):
    (folder / "odd*.fits").write_text("odd")

    assert paths_of(run("count", "odd*.fits", "-d", "out")) == ["out/odd*.fits"]


@pytest.mark.parametrize("second", ["a.fits", "./a.fits", "link.fits", "hard.fits"])
def test_the_same_file_twice_is_a_usage_error(folder, second):
    Path("link.fits").symlink_to("a.fits")
    os.link("a.fits", "hard.fits")
    result = run("count", "a.fits", second, "-d", "out")

    assert result.exit_code == 2
    assert f"{second} is given twice" in result.stderr


def test_the_same_file_in_a_list_and_beside_it_is_a_usage_error(folder):
    (folder / "list.txt").write_text("a.fits\n")

    assert run("count", "@list.txt", "a.fits", "-d", "out").exit_code == 2


def test_two_extensions_of_a_file_are_two_inputs(folder):
    result = run("count", "-n", "a.fits[1]", "a.fits[2]", "-o", "x")

    assert "--output is for one input and there are 2" in result.stderr
    assert run("count", "-n", "a.fits[2]", "a.fits[2]", "-o", "x").stderr.count("given twice") == 1


# --- outputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "give --output FILE or --output-dir DIR"),
        (["-o", "x", "-d", "out"], "give --output or --output-dir, not both"),
        (["-o", "x", "--suffix", "-m"], "--suffix goes with --output-dir"),
        (["-d", "out", "--suffix", "/m"], "must be part of a file name"),
    ],
)
def test_where_products_go_must_be_said_once(folder, args, words):
    result = run("count", "a.fits", *args)

    assert result.exit_code == 2
    assert words in result.stderr


def test_names_of_products_are_those_of_the_inputs_with_the_suffix():
    inputs = ["night/a.fits", "b.fits.fz[SCI,1]", "c.fit.gz", "d.tar", "e"]

    assert options.output_paths(inputs, Path("out"), "-m") == [
        Path(f"out/{stem}-m.fits") for stem in "abcde"
    ]


@pytest.mark.parametrize(
    "inputs", [["n1/a.fits", "n2/a.fits"], ["a.fits[1]", "a.fits[2]"], ["a.fits", "a.fits.fz"]]
)
def test_two_inputs_of_one_name_are_a_usage_error(inputs):
    with pytest.raises(click.UsageError, match="would both become"):
        options.output_paths(inputs, Path("out"))


def test_standard_input_has_no_name_for_a_product():
    with pytest.raises(click.UsageError, match="give --output"):
        options.output_paths(["-"], Path("out"))


def test_one_product_of_many_inputs_needs_a_file():
    destination = options.Destination(output=None, directory=Path("out"))

    with pytest.raises(click.UsageError, match="give --output instead"):
        destination.single()
    assert options.Destination(output=Path("x"), directory=None).single() == Path("x")


def test_a_command_may_want_a_file_or_a_folder_only():
    @click.command()
    @options.output_file
    def one(output):
        click.echo(repr(output))

    @click.command()
    @options.output_dir
    def many(output_dir, suffix):
        click.echo(f"{output_dir!r} {suffix}")

    runner = CliRunner()
    assert runner.invoke(one, ["-o", "x"]).output == f"{Path('x')!r}\n"
    assert runner.invoke(one, []).exit_code == 2
    assert runner.invoke(many, ["-d", "out", "--suffix", "-m"]).output == f"{Path('out')!r} -m\n"
    assert runner.invoke(many, []).exit_code == 2


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ra", "dec"),
    [
        ("150.1,2.2", 150.1, 2.2),
        ("150.1 -2.2", 150.1, -2.2),
        (" 150.1 , +2.2 ", 150.1, 2.2),
        ("-10,0", 350.0, 0.0),
        ("360,-90", 0.0, -90.0),
        ("-1e-20,0", 0.0, 0.0),
        ("10:00:24,+02:12:00", 150.1, 2.2),
        ("10:00:24 -00:12:00", 150.1, -0.2),
        ("10h00m24s,-0d12m", 150.1, -0.2),
        ("10h00m24.0s,+2d12'00\"", 150.1, 2.2),
        ("10 00 24 +02 12 00", 150.1, 2.2),
    ],
)
def test_positions_are_degrees_or_sexagesimal(text, ra, dec):
    position = SkyPositionType().convert(text, None, None)

    assert position.ra == pytest.approx(ra, abs=1e-12)
    assert position.dec == pytest.approx(dec, abs=1e-12)
    assert SkyPositionType().convert(str(position), None, None) == position


@pytest.mark.parametrize(
    "text", ["", "150", "1,2,3", "nan,1", "a,b", "1,91", "361,0", "10:60:00,0", "1:2:61,0", "1q,2"]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(click.BadParameter):
        SkyPositionType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("400,300", (300, 400)),
        ("400", (400, 400)),
        ("400px,300pix", (300, 400)),
        ("10m,5m", (1500, 3000)),
        ("0.5d,90s", (450, 9000)),
        ("1arcmin,30arcsec", (150, 300)),
        ("10.1s,400", (400, 51)),
        ("0.1234567d,100", (100, 2223)),
        ("0.01s", (1, 1)),
    ],
)
def test_sizes_are_width_and_height_in_pixels_or_angles(text, shape):
    size = GridSizeType().convert(text, None, None)

    assert size.shape(pixel_scale=0.2) == shape
    assert GridSizeType().convert(str(size), None, None) == size


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "1,2,3", "3q", "1,", "nan", "inf"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(click.BadParameter):
        GridSizeType().convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "value"), [("0.2", 0.2), ("0.2s", 0.2), ("2m", 120.0), ("200mas", 0.2), ("1DEG", 3600)]
)
def test_angles_may_have_a_unit_of_their_own(text, value):
    assert options.Angle("arcsec").convert(text, None, None) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["", "x", "1q", "0", "-1", "1e400"])
def test_what_is_no_positive_angle_is_refused(text):
    with pytest.raises(click.BadParameter):
        options.Angle("arcsec", positive=True).convert(text, None, None)


def test_lists_have_commas_between_their_items():
    numbers = options.CommaList(float, length=2)

    assert options.PLANES.convert("bad, SAT,BAD", None, None) == ("BAD", "SAT")
    assert options.PLANES.convert("", None, None) == ()
    assert options.PLANES.convert(("BAD",), None, None) == ("BAD",)
    assert numbers.convert("1,2.5", None, None) == (1.0, 2.5)
    for text in ("1", "1,2,3", "1,x", "1,", ",1"):
        with pytest.raises(click.BadParameter):
            numbers.convert(text, None, None)


# --- running and reading ----------------------------------------------------------------------


def test_nothing_to_do_is_allowed_on_request(folder):
    refused = run("count", "empty.fits", "-o", "x")
    allowed = run("count", "empty.fits", "-o", "x", "--allow-empty")

    assert (refused.exit_code, allowed.exit_code) == (6, 0)
    assert refused.stderr == allowed.stderr


def test_a_scheduler_needs_its_package(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    result = run("count", "a.fits", "-o", "x", "--scheduler", "tcp://localhost:1")

    assert result.exit_code == 2
    assert "extra 'cluster'" in result.stderr


def test_options_a_command_has_no_use_for_can_be_left_out():
    @click.command()
    @options.common_options(without=("jobs", "scheduler"))
    def small(run):
        click.echo(run.jobs)

    names = {param.name for param in small.params}
    assert not {"jobs", "scheduler"} & names
    assert {"overwrite", "json", "strict"} <= names
    assert small.callback(**dict.fromkeys(names)) is None


def test_how_to_read_is_one_object_with_every_option(folder):
    args = [
        "--layout",
        "bare",
        "--hdu",
        "2",
        "--gain",
        "!GAIN",
        "--read-noise",
        "5.5",
        "--fwhm",
        "3",
    ]
    args += ["--saturate", "6e4", "--require-variance", "--verify", "--weight-is", "exptime"]
    args += ["--mask", "m.fits[1]", "--dq-map", "jwst", "--flux-keyword", "FLX", "--sky", "!SKY"]
    text = run("show-reading", "a.fits", *args).stdout

    for words in (
        "layout='bare'",
        "hdu='2'",
        "gain='!GAIN'",
        "read_noise='5.5'",
        "fwhm='3'",
        "saturate='6e4'",
        "require_variance=True",
        "verify=True",
        "weight_is='exptime'",
        "mask='m.fits[1]'",
        "dq_map='jwst'",
        "flux_keyword='FLX'",
        "sky='!SKY'",
        "variance=None",
    ):
        assert words in text


def test_every_field_of_the_reading_options_has_an_option():
    from dataclasses import fields

    from skytool.io.sources import ReadOptions

    names = {param.name for param in show_reading.params}
    assert {field.name for field in fields(ReadOptions)} <= names


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--variance", "v.fits", "--weight", "w.fits"], "--variance and --weight both give"),
        (["--gain", "2", "--noise-from-sky"], "--noise-from-sky and --gain both give"),
        (["--psf", "p.fits", "--fwhm", "3"], "--psf and --fwhm both give the PSF"),
        (["--gain", "two"], "'two' is neither a number nor !KEYWORD"),
        (["--gain", "nan"], "'nan' is neither"),
        (["--gain", "!"], "'!' is neither"),
    ],
)
def test_contradictory_or_meaningless_reading_options_are_usage_errors(folder, args, words):
    result = run("show-reading", "a.fits", *args)

    assert result.exit_code == 2
    assert words in result.stderr


def every_command(group):
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        if group is program and name == "warp":
            continue
        command = group.get_command(ctx, name)
        yield from every_command(command) if isinstance(command, click.Group) else [command]


@pytest.mark.parametrize("group", [program, cli], ids=["toy", "skytool"])
def test_short_letters_mean_the_same_everywhere(group):
    meanings = {
        "-o": "output",
        "-d": "output_dir",
        "-r": "reference",
        "-t": "template",
        "-j": "jobs",
        "-k": "keep_going",
        "-n": "dry_run",
        "-v": "verbose",
        "-q": "quiet",
        "-V": "version",
    }
    for command in [group, *every_command(group)]:
        for param in command.params:
            for text in param.opts:
                if isinstance(param, click.Option) and not text.startswith("--"):
                    assert meanings[text] == param.name


@pytest.mark.parametrize("group", [program, cli], ids=["toy", "skytool"])
def test_every_option_has_a_help_text(group):
    for command in every_command(group):
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, param.name


def test_help_shows_defaults_and_units(folder):
    text = " ".join(run("count", "--help").stdout.split())

    assert "Bin side [pixel]. [default: 256; x>=1]" in text
    assert count.name == "count"


def test_the_help_has_the_options_of_many_commands_in_sections_of_their_own():
    text = CliRunner().invoke(cli, ["coadd", "--help"]).stdout
    titles = ["Options:", "Options for reading the inputs:", "Options for running:"]
    parts = re.split(r"^(Options.*:)$", text, flags=re.MULTILINE)

    assert parts[1::2] == titles
    own, reading, running = parts[2::2]
    for part, names in (
        (own, ("--output", "--statistic", "--strip-memory N ")),
        (reading, ("--layout", "--gain", "--verify")),
        (running, ("--overwrite", "--compress", "--config", "--log-file")),
    ):
        for name in names:
            assert name in part
    assert "--sigma-clip NUMBER" in own
    assert "RANGE" not in text
