"""How well each finder finds the nuclei of hand-annotated fields, and what it costs beside a plain script.

Run: CELLCYCLE_REAL_DATA=folder python -m benchmarks.segmentation_fields [--worst N] [--backends trained classical]

The folder holds `fields/images/` and `fields/labels/`, matched by name. "plain" is Otsu's threshold, a watershed on
the distance and a table of measurements, as one writes it down in ten lines. The shipped finder learned from these
fields: what it does on fields it has not seen stands in its card, `cellcycle/segmentation/finder/model.json`. Times
are those of the processor, in one run; only their ratios say anything.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import tifffile

from cellcycle.images import list_images, read_plane
from cellcycle.segmentation import segment
from cellcycle.segmentation.matching import IOUS, matches
from cellcycle.training.finder import found_scores


def plain(pixels: np.ndarray) -> np.ndarray:
    """Find and measure nuclei in the plainest way that is in use."""
    from scipy import ndimage
    from skimage import feature, filters, measure
    from skimage.segmentation import watershed

    mask = ndimage.binary_opening(pixels > filters.threshold_otsu(pixels))
    distance = ndimage.distance_transform_edt(mask)
    tops = feature.peak_local_max(distance, min_distance=4, labels=ndimage.label(mask)[0])
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(tops.T)] = np.arange(1, len(tops) + 1)
    labels = watershed(-distance, seeds, mask=mask)
    measure.regionprops_table(labels, pixels, properties=("label", "area", "mean_intensity", "solidity"))
    return labels


def main() -> None:
    """Find the nuclei of every field by every finder, and print scores, ratios of time, and the worst fields."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worst", type=int, default=5, help="number of worst fields to list")
    parser.add_argument("--backends", nargs="+", default=["trained", "classical"])
    arguments = parser.parse_args()
    if "CELLCYCLE_REAL_DATA" not in os.environ:
        sys.exit("CELLCYCLE_REAL_DATA: not set; set it to the folder that holds fields/images and fields/labels")
    folder = Path(os.environ["CELLCYCLE_REAL_DATA"]) / "fields"
    planes = [(path.stem, read_plane(path).pixels) for path in list_images(folder / "images")]
    truth = {name: tifffile.imread(folder / "labels" / f"{name}.tif") for name, _ in planes}
    finders = {"plain": plain} | {b: lambda pixels, b=b: segment(pixels, backend=b) for b in arguments.backends}
    seconds = {}
    for finder, find in finders.items():
        find(planes[0][1])
        start = time.process_time()
        found = {name: find(pixels) for name, pixels in planes}
        seconds[finder] = time.process_time() - start
        counts = {name: [matches(truth[name], labels, iou) for iou in IOUS] for name, labels in found.items()}
        print(f"{finder}: {seconds[finder] / seconds['plain']:.1f} times the time of the plain script")
        for score, value in found_scores(list(counts.values())).items():
            print(f"  {score}: {value}")
        rows = sorted((2 * c[0][0] / max(2 * c[0][0] + c[0][1] + c[0][2], 1), name, c[0]) for name, c in counts.items())
        for f1, name, count in rows[: arguments.worst]:
            print(f"  {name}: F1 {f1:.2f}, right {count[0]}, surplus {count[1]}, missed {count[2]}")


if __name__ == "__main__":
    main()
