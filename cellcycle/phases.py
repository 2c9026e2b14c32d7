"""The four phases of the cell cycle: their order, names and colours.

Everything that lists phases (tables, score columns, axes) uses the order of `PHASES`.
"""

from itertools import cycle

from PIL import ImageColor

PHASES: tuple[str, ...] = ("G1", "S", "G2", "M")

PHASE_NAMES: dict[str, str] = {
    "G1": "first gap: two sets of chromosomes (2N)",
    "S": "synthesis: the DNA is being copied (2N to 4N)",
    "G2": "second gap: four sets (4N), before division",
    "M": "mitosis: the chromosomes are condensed and divided",
}

# Note beside every reported share of S.
S_BY_DNA = "Cells early and late in S have the DNA of G1 and G2: one DNA stain finds too few in S."

# Okabe and Ito's palette, which readers with any common colour-vision deficiency can tell apart.
# Source: Okabe M, Ito K. Color Universal Design (2008).
PHASE_COLOURS: dict[str, str] = {"G1": "#0072B2", "S": "#E69F00", "G2": "#009E73", "M": "#CC79A7"}
# Colour of a nucleus without a call, or with a call that is not one of the classes.
NO_CALL_COLOUR = "#999999"
_MORE_COLOURS = ("#56B4E9", "#D55E00", "#882255")
# Used last: it is similar to the colour of no call.
_GRAY = "#555555"


def class_colours(classes: tuple[str, ...]) -> dict[str, str]:
    """Return one colour per class, hexadecimal RGB: phases keep theirs, other class names take the unused ones.

    With more than eight classes, colours repeat.

    Examples
    --------
    >>> class_colours(("G2", "not-G2"))
    {'G2': '#009E73', 'not-G2': '#56B4E9'}
    """
    unused = (colour for phase, colour in PHASE_COLOURS.items() if phase not in classes)
    spare = cycle([*_MORE_COLOURS, *unused, _GRAY])
    return {name: PHASE_COLOURS.get(name) or next(spare) for name in classes}


# Converts a hexadecimal colour to red, green and blue, 0 to 255.
rgb = ImageColor.getrgb
