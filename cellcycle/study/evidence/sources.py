"""Real cells on which the shipped models are tested: their sources and their labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.filters import threshold_otsu

from cellcycle.errors import DataError
from cellcycle.images import list_images, read_plane
from cellcycle.phases import PHASES
from cellcycle.study.shipped.cells import MITOTIC, our_pixel_size_um

EDU = ("EdU-", "EdU+")
# The EdU of a nucleus is the mean in a square of this side, in pixels, about its centre.
_EDU_PX = 7


@dataclass(frozen=True)
class Source:
    """Cells of one source below the folder of real cells.

    `ways` are the groupings in which a user could predict them: "each" image by itself, all as one "slide", or
    "together" as fields of one folder. `files` is a pattern below the folder of real cells.
    """

    title: str
    files: str
    kind: str
    ways: tuple[str, ...]
    label: str
    apart: str
    licence: str

    def images(self, real: Path) -> list[Path]:
        """Return the images of the source below the folder `real`; DataError if there are none."""
        folder, pattern = self.files.split("/", 1)
        found = [path for path in list_images(real / folder) if path.match(pattern)]
        if not found:
            raise DataError(real, f"it holds no {self.files}", "name the folder of real cells in CELLCYCLE_REAL_DATA")
        return found


SOURCES = {
    "jurkat": Source(
        "Jurkat cells, propidium iodide, imaging flow cytometry (Blasi et al. 2016; part of BBBC048)",
        "jurkat/*.tif",
        "nucleus",
        ("each", "slide"),
        "G1, S and G2 are gates on the intensity of the same channel; M was sorted by hand",
        "pictures that a model learned from are left out, by fingerprint, with all that overlap them; the others are "
        "of the same culture and instrument, so that cells of another laboratory may fare worse; recipes and cutoffs "
        "were chosen with them in view; no pixel size comes with them: the one that is stated gives their median "
        "nucleus the area that models know, while the true one, by which they are smaller, would count as unknown",
        "BSD-3 (repository minh-doan/MLCP)",
    ),
    "mitocheck": Source(
        "HeLa cells, H2B-GFP, time-lapse (Neumann et al. 2010)",
        "mitocheck/*.png",
        "nucleus",
        ("each",),
        "interphase, prometaphase, metaphase or anaphase by the eye of biologists; no G1, S or G2",
        "pictures that a model of the phases learned from are left out, by fingerprint, with all that overlap them "
        "(crops about both halves of a division do); the others are of the same films, whose fields are not known; "
        "recipes and cutoffs were chosen with them in view; the model `mitocheck` learned from all, and its card has "
        "its held-out scores",
        "CC BY 4.0 (repository WayScience/phenotypic_profiling)",
    ),
    "rpe1": Source(
        "RPE-1 cells, DAPI, two fields of one plate at low magnification: control, and CDK4 knocked down (stops in G1)",
        "rpe1/*_DAPI.tif",
        "field",
        ("each", "together"),
        "S by EdU, independent of DAPI: positive above Otsu's threshold over all nuclei of the plate",
        "no model learned from them; how nuclei are found, `--prior`, recipes and the fit to the histogram were chosen "
        "with these two fields in view",
        "BSD-2 (repository HocheggerLab/Omero_Screen)",
    ),
    "fields": Source(
        "Fields of many laboratories, stains and tissues, 8-bit (BBBC038; Caicedo et al. 2019)",
        "fields/images/*",
        "field",
        ("each",),
        "none: but no growing culture has one mitosis in ten nuclei",
        "no model of phases learned from them; the network that finds nuclei did, and the cutoff beyond which no phase "
        "is called was chosen with them in view",
        "CC0",
    ),
}


def pixel_size_um(name: str, images: list[Path]) -> float | None:
    """Return the pixel size that a user would state, or None to use that of the files.

    Jurkat nuclei are smaller than the models know: theirs gives the median nucleus the models' median area, unlabelled.
    """
    if name != "jurkat":
        return None
    return our_pixel_size_um(np.stack([read_plane(path).pixels for path in images])[:, np.newaxis])


def with_truth(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a prediction with the columns `sample_id`, `group` and `truth`, for RPE-1 also `edu`."""
    paths = table["image"].map(Path)
    if name == "rpe1":
        table = table.assign(edu=_edu_of(table), group=paths.map(lambda p: p.stem.removesuffix("_DAPI")))
        threshold = np.expm1(threshold_otsu(np.log1p(table["edu"].clip(lower=0).to_numpy())))
        truth = np.array(EDU)[(table["edu"] > threshold).astype(int)]
    elif name == "fields":
        table, truth = table.assign(group=paths.map(lambda p: p.stem)), ""
    else:
        table, truth = table.assign(group=""), paths.map(lambda p: p.parent.name)
    ids = [f"{path.stem}-{number}" for path, number in zip(paths, table["nucleus_id"], strict=True)]
    return table.assign(sample_id=ids, truth=truth)


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes of a source's labels; () if it has no labels."""
    return {"jurkat": PHASES, "mitocheck": ("Interphase", *MITOTIC), "rpe1": EDU}.get(name, ())


def _edu_of(table: pd.DataFrame) -> np.ndarray:
    """Return the EdU of each nucleus (N,): the mean about its centre minus the median of the field, in counts."""
    edu, reach = np.full(len(table), np.nan), _EDU_PX // 2
    for image, rows in table.groupby("image").indices.items():
        plane = read_plane(Path(str(image).replace("_DAPI", "_EdU"))).pixels
        centres = table.iloc[rows][["centroid_y_px", "centroid_x_px"]].round().astype(int).to_numpy()
        near = [plane[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1].mean() for y, x in centres]
        # Pixels are scaled to [0, 1]; back to counts of the 16-bit camera.
        edu[rows] = 65535 * (np.array(near) - np.median(plane))
    return edu
