"""Text that fits into the room there is for it."""

from __future__ import annotations

from functools import lru_cache

_GAP = "  "  # between the words of a title
_SHORTEST = 12  # letters that a word keeps when it is cut in its middle
_DOTS_PER_INCH, _POINTS_PER_INCH = 100, 72
_HINTING = 1.03  # letters on whole pixels are up to that much wider


def printable(text: str) -> str:
    """Return what the font has signs for, a question mark for everything else."""
    return "".join(char if char.isprintable() and ord(char) < 0x2500 else "?" for char in text)


@lru_cache(maxsize=1024)
def text_width(text: str, *, size: float, weight: str = "normal") -> float:
    """Return how wide a line of text is [px of the picture].

    Parameters
    ----------
    text : str
        The line.
    size : float
        Size of the font [pt].
    weight : {"normal", "bold"}
        How strong the letters are.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) * _HINTING * _DOTS_PER_INCH / _POINTS_PER_INCH


def fitted(text: str, width: float, *, size: float, weight: str = "normal") -> str:
    """Return a line of text that is not wider than its room.

    The longest of its words, between two blanks each, is cut in its middle, so that the beginning
    and the ending of a file's name and the other words stay; where that does not do, the line loses
    its end.

    Parameters
    ----------
    text : str
        The line.
    width : float
        The room [px of the picture].
    size, weight : float, str
        As for `text_width`.
    """
    text = printable(text)

    def fits(line: str) -> bool:
        return text_width(line, size=size, weight=weight) <= width

    if fits(text):
        return text
    words = text.split(_GAP)
    longest = max(range(len(words)), key=lambda place: len(words[place]))
    word = words[longest]
    for kept in range(len(word) - 1, _SHORTEST - 1, -1):
        head = kept - kept // 2
        words[longest] = f"{word[:head]}…{word[len(word) - kept // 2 :]}"
        if fits(_GAP.join(words)):
            return _GAP.join(words)
    line = _GAP.join(words)
    while line and not fits(f"{line}…"):
        line = line[:-1]
    return f"{line.rstrip()}…"
