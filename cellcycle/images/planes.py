"""Read one DNA plane of an image file, or of one behind a URL."""

import contextlib
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from cellcycle.errors import ImageError, check_whole
from cellcycle.images.bounded import read_bounded
from cellcycle.images.channels import by_name, choose_channel, is_index, is_known, unquoted, words
from cellcycle.images.formats import open_stack
from cellcycle.images.intensities import scale_to_unit
from cellcycle.images.pages import MOST_PAGES, look_like_one_stack, share_nuclei
from cellcycle.images.remote import copied, is_url
from cellcycle.images.stacks import STACK, Stack, pages_as_channels


@dataclass(frozen=True, eq=False)
class Plane:
    """One 2-D plane of DNA stain, pixels (H, W) float32 in [0, 1], with the metadata of its file.

    `bit_depth` is that of the range that was scaled to 0 to 1, whatever type holds the numbers (see `scale_to_unit`).
    `channel` is the name (or index) of the channel read, one of `channels`. `planes` says which planes were read if the
    file has several, "" otherwise; `n_planes` of them went into a maximum projection. `note` says what the file states
    that is impossible, that the channel is named after something other than DNA though it is the only one or was given
    by its index, and what is not stored.
    """

    pixels: np.ndarray = field(repr=False)
    bit_depth: int
    pixel_size_um: float | None
    path: str
    channel: str = "0"
    channels: tuple[str, ...] = ("0",)
    n_planes: int = 1
    planes: str = ""
    note: str = ""


def read_plane(path, channel: int | str | None = None, plane: int | None = None) -> Plane:
    """Read the DNA plane of an image file or URL, by the rules at the head of `cellcycle.images`.

    `channel` is the index from 0, name, or part of a name of the DNA channel. `plane` is the index from 0 of the time
    point or, with one time point, of the z plane. An `ImageError` says why a file cannot be read, or that its DNA
    channel or plane is ambiguous; a `SettingError` says that `plane` is no index.
    """
    if plane is not None:
        check_whole("plane", plane)
    if is_url(path):
        with copied(path, partial(_wanted, channel, plane)) as file:
            return replace(read_plane(file, channel, plane), path=path)
    return read_bounded(_read_plane, path, channel, plane)


def _wanted(channel: int | str | None, plane: int | None, stack: Stack) -> dict[str, range]:
    """Return the needed indices of each axis; without "c", all channels are needed."""
    time, z_planes = _choose_planes(stack, plane)
    needed = {"t": range(time, time + 1), "z": z_planes}
    with contextlib.suppress(KeyError):
        # No pixels are here yet, so `load` fails: if pixels must decide, all channels are needed.
        index = choose_channel(stack, channel, {}.__getitem__)
        needed["c"] = range(index, index + 1)
    return needed


def _read_plane(path, channel: int | str | None, plane: int | None) -> Plane:
    with open_stack(path) as stack:
        if plane is None and channel is not None:
            stack = _unlike_pages(stack, channel)
        time, z_planes = _choose_planes(stack, plane)
        index = choose_channel(stack, channel, lambda c: _project(stack, time, c, z_planes))
        if len(z_planes) > 1 and not _is_one_stack(stack, time, index):
            finding = f"it has {stack.n_z} pages without a label, which do not look like one z-stack"
            remedy = "save a z-stack with axes and spacing stated"
            if stack.is_labelled:
                finding = f"it has {stack.n_z} z planes, but neighbours show different things, as fields or stains do"
                remedy = "state the distance of the z planes in um"
            remedy = f"name the page of the DNA stain with plane= (--plane), or {remedy}"
            raise ImageError(path, "; ".join(filter(None, (stack.note, finding))), remedy)
        raw = _project(stack, time, index, z_planes)
        if raw.ndim != 2 or 0 in raw.shape:
            raise ImageError(path, f"its planes have the shape {raw.shape}", "export it as one gray image")
        pixels, bits = scale_to_unit(raw, stack.path)
        missing = stack.missing(time, index, z_planes)
        name = stack.channel_names[index]
        other, is_other = "", is_known(name) and not by_name([name, *words(name)])
        if is_other and channel is None and stack.n_channels == 1:
            other = f"its only channel is called {name}: unless it shows DNA, its calls mean nothing"
        elif is_other and is_index(str(channel)) and (dna := by_name(stack.channel_names)):
            other = f"channel {channel}, counted from 0, is {name}, but {dna[0]} is {stack.channel_names[dna[0]]}"
    return Plane(
        pixels=pixels,
        bit_depth=bits,
        pixel_size_um=stack.pixel_size_um,
        path=stack.path,
        channel=name,
        channels=stack.channel_names,
        n_planes=len(z_planes),
        planes=_planes_taken(stack, time, z_planes),
        note="; ".join(filter(None, (stack.note, other, missing))),
    )


def read_numbers(path) -> np.ndarray:
    """Return the stored numbers (H, W) of a picture that is no intensity image, such as a label image, unscaled."""
    return read_bounded(_read_numbers, path)


def _read_numbers(path) -> np.ndarray:
    with open_stack(path, as_numbers=True) as stack:
        if stack.n_times * stack.n_z > 1 or not (stack.n_channels == 1 or stack.is_colour):
            n = stack.n_times * stack.n_z * stack.n_channels
            raise ImageError(path, f"it holds {n} planes", "save the one that belongs to the image")
        first, *others = (stack.load(0, c, 0) for c in range(stack.n_channels))
        if any(not np.array_equal(first, other) for other in others):
            raise ImageError(path, "it is a colour picture, and colours are not numbers", "save it as 16-bit gray")
        # A plane may be mapped from the file, which is closed now, so it is copied.
        return np.array(first)


def _choose_planes(stack: Stack, plane: int | None) -> tuple[int, range]:
    """Return the time point and the z planes to project."""
    n_choices = stack.n_times if stack.n_times > 1 else stack.n_z
    if plane is not None and not 0 <= plane < n_choices:
        raise ImageError(stack.path, f"it has no plane {plane}", f"planes are counted from 0 to {n_choices - 1}")
    if plane is None and STACK in stack.elsewhere:
        finding = f"other z planes of this field lie in {stack.elsewhere[STACK]}"
        remedy = "export the stack as one file, or take a plane of this one alone (--plane 0)"
        raise ImageError(stack.path, finding, remedy)
    if stack.n_times > 1:
        if plane is None:
            remedy = "choose one time point with plane=0 or another index, or export it as a file of its own"
            raise ImageError(stack.path, f"it is a time series of {stack.n_times} images", remedy)
        return plane, range(stack.n_z)
    return 0, range(stack.n_z) if plane is None else range(plane, plane + 1)


def _project(stack: Stack, time: int, channel: int, z_planes: range) -> np.ndarray:
    """Return the maximum over the z planes, loaded one after the other."""
    projection = stack.load(time, channel, z_planes[0])
    for z in z_planes[1:]:
        projection = np.maximum(projection, stack.load(time, channel, z))
    return projection


def _is_one_stack(stack: Stack, time: int, channel: int) -> bool:
    pages = (stack.load(time, channel, z) for z in range(stack.n_z))
    if stack.is_labelled:
        return stack.n_z > MOST_PAGES or np.isinf(stack.z_um) or share_nuclei(pages, stack.z_um)
    return stack.n_z <= MOST_PAGES and look_like_one_stack(pages)


def _unlike_pages(stack: Stack, channel: int | str) -> Stack:
    """Return a stack of unlabelled pages that are no z-stack with its pages as channels, if `channel` is an index."""
    asked = unquoted(str(channel))
    is_page = is_index(asked) and int(asked) < stack.n_z
    if stack.is_labelled or stack.n_channels > 1 or not is_page or _is_one_stack(stack, 0, 0):
        return stack
    return pages_as_channels(stack, tuple(map(str, range(stack.n_z))))


def _planes_taken(stack: Stack, time: int, z_planes: range) -> str:
    """Return which planes were read, in words; "" if the file has only one."""
    name = "z" if stack.is_labelled else "page"
    taken = [f"t {time}"] if stack.n_times > 1 else []
    if len(z_planes) > 1:
        taken.append(f"maximum of {name} {z_planes[0]}-{z_planes[-1]}")
    elif stack.n_z > 1:
        taken.append(f"{name} {z_planes[0]}")
    return ", ".join(taken)
