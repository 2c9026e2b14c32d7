"""Choose the DNA channel of a file by a fixed rule, or refuse and list the channels."""

from collections.abc import Callable

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images.stacks import Stack

# Names under which microscopes store a DNA stain or a chromatin label.
DNA_NAMES = (
    "dapi",
    "hoechst",
    "dna",
    "draq",
    "propidium",
    "sytox",
    "h2b",
    "nuclei",
    "nuclear",
    "nucleus",
    "405",
)
# JPEG leaves a few per cent of a pure colour in the other two channels.
_EMPTY_SHARE = 0.10
# One picture in one artificial colour has channels in proportion; two stains of the same cells have not.
_SAME_PICTURE = 0.99
_MAX_SAMPLES = 1_000_000


def choose_channel(stack: Stack, channel: int | str | None, load: Callable[[int], np.ndarray]) -> int:
    """Return the index of the DNA channel.

    Parameters
    ----------
    stack : Stack
        The opened file.
    channel : int, str or None
        What the user asked for.
    load : callable c -> ndarray (H, W)
        Reads a channel; called only where names do not decide.

    Returns
    -------
    int
        Index from 0.

    Raises
    ------
    ImageError
        The channel asked for is not there, or no rule decides.
    """
    if channel is not None:
        return _find(stack, channel)
    named = [i for i, name in enumerate(stack.channel_names) if _is_dna(name)]
    if not named:
        for name, file in stack.elsewhere.items():
            if _is_dna(name):
                raise ImageError(
                    stack.path,
                    f"it holds {_listed(stack)}; the channel {name} of this field lies in {file}",
                    "give that file, or name a channel of this one with channel= (--channel on the command line)",
                )
    if stack.n_channels == 1:
        return 0
    if len(named) == 1:
        return named[0]
    index = _only_picture([_sample(load(c)) for c in range(stack.n_channels)])
    if index is None:
        raise ImageError(
            stack.path,
            f"it has {stack.n_channels} channels ({_listed(stack)}) and none is clearly the DNA stain",
            "name it with channel=, by index or name (--channel on the command line)",
        )
    return index


def _is_dna(name: str) -> bool:
    return any(word in name.lower() for word in DNA_NAMES)


def _find(stack: Stack, channel: int | str) -> int:
    """Return the channel with this index, this name, or the only one whose name contains it."""
    text = str(channel).strip().lower()
    names = [name.lower() for name in stack.channel_names]
    if text in names and not isinstance(channel, int):
        return names.index(text)
    if _is_index(text) and int(text) < stack.n_channels:
        return int(text)
    containing = [i for i, name in enumerate(names) if text and text in name and not _is_index(text)]
    if len(containing) != 1:
        finding = "no channel" if not containing else f"{len(containing)} channels"
        raise ImageError(stack.path, f'{finding} matches "{channel}"', f"choose one of {_listed(stack)}")
    return containing[0]


def _is_index(text: str) -> bool:
    """Say whether a text can be the number of a channel; `isdigit` alone takes a superscript for one."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _listed(stack: Stack) -> str:
    return ", ".join(str(i) if name == str(i) else f"{i} {name}" for i, name in enumerate(stack.channel_names))


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Return about a million pixels on a regular grid, as float."""
    step = int(np.ceil(np.sqrt(pixels.size / _MAX_SAMPLES)))
    return pixels[::step, ::step].astype(np.float64).ravel()


def _only_picture(channels: list[np.ndarray]) -> int | None:
    """Return the brightest channel if all that are not empty show the same picture."""
    contrasts = np.array([np.ptp(pixels) for pixels in channels])
    brightest = int(np.argmax(contrasts))
    if contrasts[brightest] == 0:
        return brightest
    for pixels, contrast in zip(channels, contrasts, strict=True):
        if contrast <= _EMPTY_SHARE * contrasts[brightest]:
            continue
        if np.corrcoef(pixels, channels[brightest])[0, 1] < _SAME_PICTURE:
            return None
    return brightest
