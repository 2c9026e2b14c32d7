"""Compare finders on outlined fields: segmentation scores, time and memory, and the width of the G1 peak.

Run: CELLCYCLE_REAL_DATA=folder python -m benchmarks.segmentation_fields [--worst N] [--record]

The folder contains `fields/` and `fields_more/` with `images/` and `labels/`, and `rpe1/SCR_f1_DAPI.tif`. "plain" is
Otsu's threshold, a watershed on the distance transform and a table of measurements, in about ten lines. The shipped
finder learned from the real fields: its scores on unseen fields are in its card. The simulated fields here are not
those from which it learned. Times are processor times of one run; only their ratios are meaningful. `--record` writes
`data/results/finders.json`, from which `docs/finders.md` is made.

`--crowded IMAGE LABELS` scores the finders on one outlined picture instead, e.g. that of the package StarDist
(`stardist/data/images/img2d.tif` and `mask2d.tif`, 512 px, crowded; BSD-3), from which no finder here learned.
"""

import argparse
import io
import json
import os
import re
import sys
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from cellcycle import files
from cellcycle.dna_content import fit_g1_peak
from cellcycle.images import read_plane
from cellcycle.segmentation import VERSION, finder, flags, measure, segment
from cellcycle.segmentation.matching import IOUS, matches
from cellcycle.simulation import simulate_field
from cellcycle.simulation.images import make_slide
from cellcycle.simulation.parameters import SimulationParameters

RECORD = files.repository() / "data" / "results" / "finders.json"
N_REAL, N_SIMULATED, FIRST_UNSEEN, JPEG_QUALITY = 100, 20, 1000, 75
SLIDE_SEED, SLIDE_PX, SLIDE_NUCLEI, N_RESAMPLES = 2026, (800, 800), 130, 60


def plain(pixels: np.ndarray) -> np.ndarray:
    """Find and measure nuclei in the simplest common way; return the labels (H, W)."""
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


def found_by(name: str, pixels: np.ndarray) -> np.ndarray:
    """Return the labels (H, W) of a finder."""
    return plain(pixels) if name == "plain" else segment(pixels, segmentation=name)


def scored(name: str, fields) -> tuple[dict, float, list]:
    """Return a finder's scores on outlined fields, its processor seconds, and the fields from worst to best."""
    from cellcycle.training.finder import found_scores

    found_by(name, fields[0].pixels)
    start = time.process_time()
    found = [found_by(name, field.pixels) for field in fields]
    seconds = time.process_time() - start
    counts = [[matches(f.labels, labels, iou) for iou in IOUS] for f, labels in zip(fields, found, strict=True)]
    f1 = [2 * c[0][0] / max(2 * c[0][0] + c[0][1] + c[0][2], 1) for c in counts]
    order = sorted(zip(f1, (f.name for f in fields), (c[0] for c in counts), strict=True))
    worst = [{"f1": round(v, 3), "field": n, "right_surplus_missed": list(map(int, c))} for v, n, c in order]
    # Real fields of one kind are correlated; each simulated one is independent.
    kinds = np.array([field.name if field.kind == "simulated" else field.kind for field in fields])
    return found_scores(counts, kinds), seconds, worst


def packed(field):
    """Return a field after JPEG compression."""
    file = io.BytesIO()
    Image.fromarray(np.rint(255 * field.pixels).astype(np.uint8)).save(file, "JPEG", quality=JPEG_QUALITY)
    return replace(field, pixels=np.asarray(Image.open(file), np.float32) / 255)


def g1_width(name: str, pictures) -> dict:
    """Return the CV of the G1 peak of the nuclei of some pictures, with its 95 % interval over nuclei."""
    dna = []
    for pixels in pictures:
        table = measure(pixels, found_by(name, pixels).astype(np.int32))
        is_sound = ~table["flags"].str.contains("|".join(sorted(set(flags.FLAGS) - {"hot_pixel"})))
        dna.append(table.loc[is_sound, "integrated_dna"])
    dna, rng = np.concatenate(dna), np.random.default_rng(0)
    peak = fit_g1_peak(dna)
    again = [fit_g1_peak(rng.choice(dna, len(dna))) for _ in range(N_RESAMPLES)]
    low, high = np.quantile([one.cv for one in again], (0.025, 0.975))
    usable = float(np.mean([one.is_usable for one in again]))
    return {"n": len(dna), "cv": [round(float(v), 3) for v in (peak.cv, low, high)], "usable": round(usable, 2),
            "quality": round(peak.quality, 2), "reason": peak.reason}  # fmt: skip


def _memory(name: str, file: Path) -> float:
    """Return the peak memory in MB of this process, which does not import torch, after finding nuclei (on Linux)."""
    found_by(name, read_plane(file).pixels)
    # The peak of `resource` is inherited from the parent process.
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def crowded(finders: list[str], image: Path, labels: Path) -> dict:
    """Return, per finder, the numbers of right, surplus and missed nuclei of one picture at each IoU."""
    import tifffile

    pixels, drawn = read_plane(image).pixels, tifffile.imread(labels)
    found = {name: found_by(name, pixels) for name in finders}
    return {n: {str(iou): list(map(int, matches(drawn, own, iou))) for iou in IOUS} for n, own in found.items()}


def main() -> None:
    """Score every finder on every field, and print or record the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worst", type=int, default=5, help="number of worst fields to keep")
    parser.add_argument("--finders", nargs="+", default=["plain", "classical", "trained"])
    parser.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--crowded", nargs=2, type=Path, metavar=("IMAGE", "LABELS"), help="ask of this picture alone")
    arguments = parser.parse_args()
    kept = json.loads(RECORD.read_text(encoding="utf-8"))
    if arguments.crowded:
        record = kept | {"crowded": crowded(arguments.finders, *arguments.crowded)}
        print(json.dumps(record["crowded"]))
        return write(record) if arguments.record else None
    # This imports torch, which none of the finders needs.
    from cellcycle.training.outlined import real_fields, simulated_fields

    if "CELLCYCLE_REAL_DATA" not in os.environ:
        sys.exit("CELLCYCLE_REAL_DATA: not set; set it to the folder that holds fields, fields_more and rpe1")
    root = Path(os.environ["CELLCYCLE_REAL_DATA"])
    real, simulated = real_fields(root)[:N_REAL], simulated_fields(N_SIMULATED, FIRST_UNSEEN)
    control, parameters = root / "rpe1" / "SCR_f1_DAPI.tif", SimulationParameters()
    slide = make_slide(SLIDE_SEED, 0, parameters)
    made = [simulate_field(SLIDE_PX, SLIDE_NUCLEI, SLIDE_SEED + k, parameters, slide).image for k in range(2)]
    pictures = {"rpe1": [read_plane(control).pixels], "simulated": [image / np.float32(4095) for image in made]}
    record, seconds = {"finders": {}}, {}
    for name in arguments.finders:
        scores, seconds[name], worst = scored(name, real)
        unseen, _, _ = scored(name, simulated)
        as_jpeg, _, _ = scored(name, [packed(field) for field in real])
        with get_context("spawn").Pool(1) as pool:
            memory = pool.apply(_memory, (name, control))
        record["finders"][name] = {
            "real": scores,
            "jpeg": as_jpeg,
            "simulated": unseen,
            "g1": {source: g1_width(name, of) for source, of in pictures.items()},
            "times_plain": round(seconds[name] / seconds[arguments.finders[0]], 1),
            "memory_mb": round(memory),
            "worst": worst[: arguments.worst],
        }
        print(json.dumps({name: record["finders"][name]}, indent=1), flush=True)
    record |= {"segmentation": VERSION, "network": finder.read_card()["sha256"]["model.onnx"][:12]}
    record |= {"n_real": len(real), "n_simulated": len(simulated), "diameter_px": finder.DIAMETER_PX}
    if arguments.record:
        write(record | {"crowded": kept["crowded"]})


def write(record: dict) -> None:
    """Write the record to its file."""
    with files.whole_file(RECORD) as work:
        work.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
