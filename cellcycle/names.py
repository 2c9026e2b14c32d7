"""Names of files and classes as tables and terminals hold them: seen for what they are, and run by no program."""

import os

from cellcycle.errors import shown

# The last four are their wide forms, which some spreadsheets read as the plain ones.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def shown_name(path) -> str:
    """Return the path of a file as tables and terminals hold it; two paths never have one such name.

    As `shown`, with a backslash doubled where it is part of a name, and "./" before a name that a spreadsheet would
    take for a formula.

    Examples
    --------
    >>> print(shown_name("=1+1.png"), shown_name("plate/a.png"))
    ./=1+1.png plate/a.png
    """
    name = os.fsdecode(path)
    if name.startswith(_FORMULA):
        name = os.path.join(os.curdir, name)
    return shown(name.replace("\\", "\\\\") if os.sep == "/" else name)


def cell(text: str) -> str:
    """Return text as the cell of a table: as `shown`, with an apostrophe before what would be a formula.

    Examples
    --------
    >>> cell("=1+1"), cell("G1")
    ("'=1+1", 'G1')
    """
    text = shown(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
