"""The errors a user can meet, each with one line: what, what was found, what to do."""

import re


class CellCycleError(Exception):
    """Something outside the program is wrong, and the user can put it right.

    Parameters
    ----------
    subject : str or path-like
        The file, folder, option or name that is at fault.
    finding : str
        What was found there.
    remedy : str
        What to do about it.

    Examples
    --------
    >>> print(CellCycleError("a.png", "the file is empty", "export the image again"))
    a.png: the file is empty; export the image again
    """

    def __init__(self, subject, finding: str, remedy: str):
        self.subject, self.finding, self.remedy = str(subject), finding, remedy
        # One line, also where another library's message in it has several.
        super().__init__(re.sub(r"\s*[\r\n]+\s*", " ", f"{subject}: {finding}; {remedy}"))

    def __reduce__(self):
        # Worker processes send their errors to the parent; Exception's default would lose two arguments.
        return type(self), (self.subject, self.finding, self.remedy)


class ImageError(CellCycleError):
    """An image file cannot be read, or not in the way asked for."""


class DataError(CellCycleError):
    """A data set cannot be used: its folder, manifest, classes or counts."""


class SettingError(CellCycleError):
    """An option, parameter or model name is unknown or out of range."""


class RecordError(CellCycleError):
    """A run's record is missing, incomplete or does not fit what was asked."""


class CheckpointError(CellCycleError):
    """A model's folder is incomplete, damaged or altered."""
