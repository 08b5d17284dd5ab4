import pytest

from skytool.pictures.lettering import fitted, printable, text_width

pytest.importorskip("matplotlib", reason="letters are measured with matplotlib")

NAME = "psfMatchedWarp-OBSERVATION_NIGHT_WWWW_2025-visit-00010-g.fits"
TITLE = f"{NAME}  VARIANCE  visit 10  g"


def test_signs_that_no_font_has_are_question_marks():
    assert printable("$x^2$ \u661f\ufffd\n") == "$x^2$ ???"


def test_a_line_that_fits_stays_as_it_is():
    assert fitted("a.fits  visit 3", 400, size=10) == "a.fits  visit 3"


@pytest.mark.parametrize("weight", ["normal", "bold"])
@pytest.mark.parametrize("letter", ["W", "n", "i"])
def test_no_line_is_wider_than_its_room(weight, letter):
    for width in (40, 150, 431):
        line = fitted(150 * letter, width, size=10, weight=weight)

        assert text_width(line, size=10, weight=weight) <= width
        assert "…" in line


def test_a_long_name_loses_its_middle_and_the_rest_stays():
    line = fitted(TITLE, 420, size=10, weight="bold")
    name, *others = line.split("  ")

    assert others == ["VARIANCE", "visit 10", "g"]
    start, _, end = name.partition("…")
    assert NAME.startswith(start)
    assert NAME.endswith(end)
    assert abs(len(start) - len(end)) <= 1
    longer = f"{NAME[: len(start) + 1]}…{NAME[-len(end) - 1 :]}  VARIANCE  visit 10  g"
    assert text_width(longer, size=10, weight="bold") > 420


def test_too_little_room_cuts_the_end():
    line = fitted(TITLE, 60, size=10)

    assert line.endswith("…")
    assert text_width(line, size=10) <= 60
