"""How a command ends: an error that the user can correct is one line on standard error and exit code 2."""

import contextlib
import errno
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise

import typer

from cellcycle.errors import CellCycleError, SettingError

# Packages that the base install lacks -> the extra that installs them.
_EXTRAS = dict.fromkeys(("torch", "torchvision", "onnx", "onnxscript", "safetensors"), "train")
_EXTRAS |= dict.fromkeys(("papermill", "nbclient", "nbformat", "seaborn", "captum"), "study")
_EXTRAS |= {"matplotlib": "report"}
_EXTRAS |= dict.fromkeys(("starlette", "uvicorn", "multipart", "python_multipart"), "app")
# Function arguments that errors name as their subject, or with a value, -> the command-line options for them.
_OPTIONS = {name: name for name in ("control", "force", "most", "resume")}
_OPTIONS |= {"from_model": "from", "is_slide": "slide", "masks": "use-masks", "n_folds": "folds", "n_jobs": "jobs",
             "on_error": "skip-unreadable", "size_px": "size"}  # fmt: skip
_ARGUMENT = re.compile(r'(?<!\S)({})=(?:True|"skip"|(?=,))'.format("|".join(_OPTIONS)))


def in_options(said) -> str:
    """Return a message of a function in terms of the command line: with options in place of arguments.

    Examples
    --------
    >>> print(in_options(SettingError("n_folds", "1 is out of range", "or leave it out: resume=True")))
    --folds: 1 is out of range; or leave it out: --resume
    """
    text, subject = _ARGUMENT.sub(lambda one: f"--{_OPTIONS[one[1]]}", str(said)), getattr(said, "subject", "")
    # A file or folder may be called control too.
    is_argument = isinstance(said, SettingError) and subject in _OPTIONS and not os.path.lexists(subject)
    return f"--{_OPTIONS[subject]}{text.removeprefix(subject)}" if is_argument else text


def guarded(command: Callable[[], object]) -> None:
    """Call a command; an error that the user can correct becomes one line on standard error and exit code 2."""
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # Characters that the terminal's encoding lacks are escaped instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            command()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except CellCycleError as error:
        typer.echo(f"Error: {in_options(error)}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        remedy = f"run: pip install 'cellcycle[{extra}]'"
        typer.echo(f"Error: {CellCycleError(error.name, 'this command needs the package', remedy)}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EPIPE):
            if not isinstance(error.filename, str | bytes):
                raise
            # A path that the system refuses: too long, not allowed, or where nothing can be created.
            reason = error.strerror or type(error).__name__
            typer.echo(f"Error: {CellCycleError(os.fsdecode(error.filename), reason, 'check the path')}", err=True)
            sys.exit(2)
        # Nothing more may be written to standard output, neither now nor when Python exits.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            typer.echo(f"Error: the output cannot be written ({error.strerror}); make room on the disk", err=True)
        sys.exit(2)


def _fill_closed_streams() -> None:
    """Keep opened files from getting the descriptors of closed streams; text for a closed standard error is dropped.

    Otherwise `print` would write it to standard output, among the rows.
    """
    if sys.stdout is None:
        os.open(os.devnull, os.O_WRONLY)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def refuse_mistyped(command, arguments: list[str]) -> None:
    """Refuse empty arguments of a typer command, and single-value options that are given twice."""
    _refuse_blank(arguments)
    called, rest = command, arguments
    while rest and rest[0] in getattr(called, "commands", {}):
        called, rest = called.commands[rest[0]], rest[1:]
    options = (p for p in called.params if p.param_type_name == "option" and not (p.is_flag or p.multiple))
    refuse_twice({name: option.opts[0] for option in options for name in option.opts}, rest)


def refuse_twice(options: Mapping[str, str], arguments: list[str]) -> None:
    """Refuse an option that is given twice: the first value would be dropped.

    `options` maps each spelling of an option to its name.
    """
    paths = arguments.index("--") if "--" in arguments else None
    given = Counter(options.get(argument.partition("=")[0]) for argument in arguments[:paths])
    for name in filter(None, given):
        if given[name] > 1:
            raise SettingError(name, f"it was given {given[name]} times", "give it once")


def _refuse_blank(arguments: list[str]) -> None:
    """Refuse empty arguments, as from an unset shell variable: an empty path would mean the working folder."""
    for before, argument in pairwise(["", *arguments]):
        option, is_joined, value = argument.partition("=")
        if not argument.strip() or (option.startswith("--") and is_joined and not value.strip()):
            name = option if is_joined else before if before.startswith("-") else "an argument"
            raise SettingError(name, "it is empty", "give a value, or leave it out")
