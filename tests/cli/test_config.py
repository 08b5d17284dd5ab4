import tomllib
from pathlib import Path

import pytest

from skytool.cli.config import PRESETS, toml_value
from skytool.cli.main import COMMANDS
from tests.cli.toy import run


def settings(folder, *args, **kwargs):
    result = run("count", "a.fits", "-o", "out", "--overwrite", *args, **kwargs)
    assert result.exit_code == 0, result.stderr
    rows = (line.split("\t") for line in (folder / "out").read_text().splitlines())
    return {row[0].split(" = ", 1)[0]: (row[0].split(" = ", 1)[1], row[1]) for row in rows}


def refused(*args):
    result = run("count", "a.fits", "-o", "out", *args)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not Path("out").exists()
    return result.stderr


def test_settings_come_from_the_file_of_the_command(folder):
    (folder / "my.toml").write_text(
        '[count]\nbin-size = 64\nclip = 2\nrescale = false\nbad-planes = ["SAT", "CR"]\n'
        'range = [1, 2.5]\ntitle = "x"\ntable = ["t1", "t2"]\n[sky.build]\nbin-size = 8\n'
    )
    got = settings(folder, "--config", "my.toml")

    source = "config my.toml"
    assert got["bin-size"] == ("64", source)
    assert got["clip"] == ("2.0", source)
    assert got["rescale"] == ("false", source)
    assert got["bad-planes"] == ('["SAT", "CR"]', source)
    assert got["range"] == ("[1.0, 2.5]", source)
    assert got["table"] == ('["t1", "t2"]', source)
    assert got["title"] == ('"x"', source)
    assert got["pixel-scale"] == ("0.2", "default")


def test_a_command_of_a_group_has_a_nested_table(folder):
    (folder / "my.toml").write_text("[count]\nbin-size = 64\n[sky.build]\nbin-size = 8\n")
    run("sky", "build", "a.fits", "-o", "out", "--config", "my.toml")

    assert "bin-size = 8\tconfig my.toml" in (folder / "out").read_text()


def test_a_bare_list_text_is_accepted_for_a_list(folder):
    (folder / "my.toml").write_text('[count]\nbad-planes = "SAT,CR"\ntable = "t1"\n')
    got = settings(folder, "--config", "my.toml")

    assert got["bad-planes"][0] == '["SAT", "CR"]'
    assert got["table"][0] == '["t1"]'


def test_command_line_beats_environment_beats_file_beats_default(folder):
    (folder / "my.toml").write_text("[count]\nbin-size = 3\nclip = 3\nrescale = false\n")
    env = {"SKYTOOL_COUNT_BIN_SIZE": "2", "SKYTOOL_COUNT_CLIP": "2"}
    got = settings(folder, "--config", "my.toml", "--bin-size", 1, env=env)

    assert got["bin-size"] == ("1", "command line")
    assert got["clip"] == ("2.0", "environment")
    assert got["rescale"] == ("false", "config my.toml")
    assert got["title"][1] == "default"


def test_a_later_file_wins_key_by_key(folder):
    (folder / "one.toml").write_text("[count]\nbin-size = 1\nclip = 1\n")
    (folder / "two.toml").write_text("[count]\nclip = 2\n")
    got = settings(folder, "--config", "one.toml", "--config", "two.toml")

    assert got["bin-size"] == ("1", "config one.toml")
    assert got["clip"] == ("2.0", "config two.toml")


def test_the_environment_names_settings_files(folder):
    (folder / "one.toml").write_text("[count]\nbin-size = 1\nclip = 1\n")
    (folder / "two.toml").write_text("[count]\nclip = 2\n")
    got = settings(folder, env={"SKYTOOL_CONFIG": "one.toml:two.toml"})

    assert got["bin-size"] == ("1", "config one.toml")
    assert got["clip"] == ("2.0", "config two.toml")


def test_a_variable_that_names_no_option_is_warned_of(folder):
    env = {"SKYTOOL_COUNT_BIN_SISE": "2", "SKYTOOL_COUNT_OVERWRITE": "1", "SKYTOOL_SHARED": "x"}
    result = run("count", "a.fits", "-o", "out", env=env)

    assert result.exit_code == 0
    assert result.stderr == (
        "WARNING skytool: the variable SKYTOOL_COUNT_BIN_SISE of the environment names no option. "
        "Did you mean SKYTOOL_COUNT_BIN_SIZE?\n"
    )


def test_files_are_recorded_without_folders_but_printed_with_them(folder):
    args = ["--table", f"{folder}/t.fits[1]", "--table", "sub/u.fits"]
    for name in ("t.fits", "sub/u.fits"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)

    assert settings(folder, *args)["table"][0] == '["t.fits[1]", "u.fits"]'
    assert f'["{folder}/t.fits[1]", "sub/u.fits"]' in run("count", *args, "--print-config").stdout


def test_overwriting_can_be_asked_for_in_the_environment(folder):
    assert run("count", "a.fits", "-o", "out").exit_code == 0
    assert run("count", "a.fits", "-o", "out").exit_code == 3
    assert run("count", "a.fits", "-o", "out", env={"SKYTOOL_OVERWRITE": "1"}).exit_code == 0
    assert run("count", "a.fits", "-o", "out", env={"SKYTOOL_OVERWRITE": "0"}).exit_code == 3


def test_a_preset_has_a_bare_name_and_a_file_a_path(folder, monkeypatch):
    presets = folder / "presets"
    presets.mkdir()
    (presets / "rubin.toml").write_text("[count]\nclip = 9\n[diffim]\nbasis = 3\n")
    monkeypatch.setattr("skytool.cli.config.PRESETS", presets)
    (folder / "rubin").write_text("[count]\nclip = 8\n")

    assert settings(folder, "--config", "rubin")["clip"] == ("9.0", "config rubin")
    assert settings(folder, "--config", "./rubin")["clip"] == ("8.0", "config rubin")


def test_an_unknown_preset_lists_those_there_are(folder):
    stderr = refused("--config", "sloan")

    assert "no preset 'sloan'; there are: lsst" in stderr
    assert "./sloan" in stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[count]\nbin-sise = 3\n", "no option 'bin-sise'. Did you mean 'bin-size'?"),
        ("[count]\nbin_size = 3\n", "no option 'bin_size'. Did you mean 'bin-size'?"),
        ("[cuont]\nbin-size = 3\n", "no command 'cuont'. Did you mean 'count'?"),
        ("bin-size = 3\n", "no command 'bin-size'."),
        ("count = 3\n", "no command 'count'."),
        ("[count]\nverbose = 3\n", "no option 'verbose'."),
        ("[count]\nconfig = 'x'\n", "no option 'config'."),
        ("[count]\nprint-config = true\n", "no option 'print-config'."),
        ("[count]\nbin-size = 0\n", "0 is not in the range x>=1"),
        ("[count]\nbin-size = 2.5\n", "'2.5' is not a valid integer"),
        ("[count]\nbin-size = true\n", "bin-size must be text or a number, not True"),
        ("[count]\nbin-size = [1]\n", "bin-size must be one value, not [1]"),
        ("[count]\nclip = 1979-05-27\n", "clip must be text or a number"),
        ("[count]\nclip = {a = 1}\n", "clip must be text or a number"),
        ("[count]\nrescale = 'no'\n", "rescale must be true or false, not 'no'"),
        ("[count]\nrange = [1]\n", "Takes 2 values"),
        ("[count\n", "Expected ']'"),
        ("[count]\nclip = 1\nclip = 2\n", "Cannot overwrite"),
    ],
)
def test_what_is_wrong_in_a_file_is_a_usage_error(folder, text, words):
    (folder / "my.toml").write_text(text)

    assert words in refused("--config", "./my.toml")


@pytest.mark.parametrize("name", ["./no.toml", "no.toml", "."])
def test_a_missing_file_is_a_usage_error(folder, name):
    assert f"{name}: no such file." in refused("--config", name)


def test_a_file_that_is_no_text_is_a_usage_error(folder):
    (folder / "my.toml").write_bytes(b"\xff\xfe\x00")

    assert "my.toml" in refused("--config", "my.toml")


def test_printed_settings_go_back_in_with_equal_results(folder):
    args = ["--clip", "1e-7", "--center", "10:00:24,-00:30:00", "--no-rescale", "--range", "1", "2"]
    args += ["--bad-planes", "sat", "--table", "t1", "--table", "t2", "--pixel-scale", "0.1arcmin"]
    before = settings(folder, *args)
    printed = run("count", "--print-config", *args)
    (folder / "my.toml").write_text(printed.stdout)
    after = settings(folder, "--config", "my.toml")

    assert printed.exit_code == 0
    assert before["center"][0] == '"150.1,-0.5"'
    assert {name: value for name, (value, _) in after.items()} == {
        name: value for name, (value, _) in before.items()
    }
    assert {source for _, source in after.values()} == {"config my.toml"}
    again = run("count", "--print-config", "--config", "my.toml").stdout
    assert tomllib.loads(again) == tomllib.loads(printed.stdout)


def test_an_empty_list_is_a_value_and_goes_back_in(folder):
    printed = run("count", "--print-config", "--bad-planes", "").stdout
    (folder / "my.toml").write_text(printed)

    assert "bad-planes = []  # command line" in printed
    assert settings(folder, "--config", "my.toml")["bad-planes"] == ("[]", "config my.toml")


def test_printed_settings_name_the_source_of_each(folder):
    (folder / "my.toml").write_text("[count]\nclip = 1\n")
    env = {"SKYTOOL_COUNT_TITLE": "x"}
    args = ["--config", "my.toml", "--bin-size", "5", "--print-config"]
    lines = run("count", *args, env=env).stdout.splitlines()

    assert lines[0] == "[count]"
    assert "bin-size = 5  # command line" in lines
    assert 'title = "x"  # environment' in lines
    assert "clip = 1.0  # config my.toml" in lines
    assert "rescale = true  # default" in lines
    assert "# center is not set" in lines


def test_printing_needs_no_input_and_leaves_outputs_out(folder):
    result = run("sky", "build", "-o", "x.fits", "--print-config", "--report", "r")
    table = tomllib.loads(result.stdout)["sky"]["build"]

    assert result.exit_code == 0
    assert not {"output", "output-dir", "suffix", "report", "depfile"} & set(table)
    assert {"bin-size", "jobs", "overwrite"} <= set(table)
    assert not Path("x.fits").exists()


def test_the_bare_form_of_an_option_never_takes_the_next_argument(folder):
    assert run("count", "--reuse", "a.fits", "-o", "x").exit_code == 0
    assert run("count", "--reuse=exists", "a.fits", "-o", "x").stderr == ""
    assert "'no' is not one of" in run("count", "--reuse=no", "a.fits", "-o", "x").stderr


@pytest.mark.parametrize(("value", "done"), [("true", 0), ('"exists"', 0), ("false", 3)])
def test_the_bare_form_of_an_option_in_a_file_is_true_or_false(folder, value, done):
    (folder / "my.toml").write_text(f"[count]\nreuse = {value}\n")
    args = ["count", "a.fits", "-o", "x", "--config", "my.toml"]
    run(*args)

    assert run(*args).exit_code == done


def test_settings_of_a_run_leave_out_what_changes_no_pixel(folder):
    assert set(settings(folder, "-j", 2, "--side", "x")) == {
        "bin-size",
        "clip",
        "bad-planes",
        "center",
        "size",
        "pixel-scale",
        "rescale",
        "title",
        "range",
        "table",
        "compress",
    }


@pytest.mark.parametrize(
    "value",
    [True, 0, -7, 1.5, 1e-300, 1e22, "", "a\tb\n\"c\\'", "é\x7f\x01", (1, 2), ("a", "b"), ()],
)
def test_values_are_valid_toml(value):
    expected = list(value) if isinstance(value, tuple) else value

    assert tomllib.loads(f"x = {toml_value(value)}")["x"] == expected


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.toml")), ids=lambda path: path.stem)
def test_presets_are_tables_of_commands(path):
    assert set(tomllib.loads(path.read_text())) <= set(COMMANDS)
