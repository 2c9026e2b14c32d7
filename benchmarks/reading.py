"""Measure the cost of the checks and limits of files on the command line: reading with them and without.

    python benchmarks/reading.py

Prints milliseconds per image, as medians of one run in which both ways alternate, and the cost of a file whose format
is decoded in a child process: its start, then each further file.
"""

import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import tifffile
from PIL import Image

from cellcycle.images import planes, read_plane

N_TURNS = 15


def pictures(folder: Path) -> list[Path]:
    """Write the files to read: a crop, a field, a stack and the tiles of a slide; return their paths."""
    rng = np.random.default_rng(0)
    crop, field = (rng.integers(0, 4000, (n, n)).astype(np.uint16) for n in (64, 1080))
    Image.fromarray(crop).save(folder / "crop.png")
    Image.fromarray((field >> 4).astype(np.uint8)).save(folder / "field.jpg")
    tifffile.imwrite(folder / "field.tif", field)
    tifffile.imwrite(folder / "deflate.tif", field, compression="zlib", predictor=True)
    tifffile.imwrite(folder / "stack_100.ome.tif", np.repeat(crop[None], 100, axis=0), metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "tiles_1089.tif", np.tile(field, (2, 2))[:2112, :2112], tile=(64, 64))
    return sorted(folder.iterdir())


def milliseconds(function, *arguments) -> float:
    """Return the time of one call in milliseconds."""
    started = time.perf_counter()
    function(*arguments)
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'file':<18}{'without':>10}{'with':>10}{'extra, ms':>12}")
        for path in pictures(Path(folder)):
            read_plane(path)
            turns = [
                (milliseconds(planes._read_plane, path, None, None), milliseconds(read_plane, path))
                for _ in range(N_TURNS)
            ]
            without, within = (median(column) for column in zip(*turns, strict=True))
            print(f"{path.name:<18}{without:>10.2f}{within:>10.2f}{within - without:>12.2f}")
        path = Path(folder) / "jpeg2000.tif"
        tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="jpeg2000")
        first, again = milliseconds(read_plane, path), median(milliseconds(read_plane, path) for _ in range(N_TURNS))
        print(f"{path.name:<18}{milliseconds(planes._read_plane, path, None, None):>10.2f}{again:>10.2f}"
              f"   in a child, whose start takes {first:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
