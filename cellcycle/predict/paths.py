"""Files, folders and patterns become a list of image files."""

import glob
from pathlib import Path

from cellcycle.errors import ImageError
from cellcycle.images import list_images


def expand(paths) -> list[str | ImageError]:
    """Return the image files that paths name.

    Parameters
    ----------
    paths : iterable of str or Path
        Files (also missing ones, which fail when they are read), folders (their images, and those of the
        folders in them), or patterns with `*`, `?` or `**`.

    Returns
    -------
    list of str or ImageError
        Each file once, in the order of the paths, sorted within a folder or pattern. A folder without images
        and a pattern that nothing matches stand there as their error, so that the rest can go on.
    """
    found: dict[str | ImageError, None] = {}
    for path in map(str, paths):
        found |= dict.fromkeys(_expand_one(path))
    return list(found)


def _expand_one(path: str) -> list[str | ImageError]:
    if Path(path).is_dir():
        files = [str(file) for file in list_images(path)]
        missing = ImageError(path, "the folder holds no image", "name a folder with PNG, JPEG, BMP or TIFF files")
        return files or [missing]
    if Path(path).exists() or not glob.has_magic(path):
        return [path]
    files = sorted(file for file in glob.glob(path, recursive=True) if Path(file).is_file())
    return files or [ImageError(path, "no file matches this pattern", "check the path")]
