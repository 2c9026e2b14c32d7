"""Write simulated images to files, in folders that `load_dataset` reads."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.errors import SettingError, check_whole
from cellcycle.files import MANIFEST, MARKER, whole_folder
from cellcycle.images import write_image
from cellcycle.phases import PHASES
from cellcycle.simulation.images import simulate_field, simulate_nuclei
from cellcycle.simulation.parameters import STUDY_COUNTS, VERSION, SimulationParameters
from cellcycle.simulation.plate import write_plate
from cellcycle.simulation.scene import make_slide

# Distance between the seeds of the fields of one folder: two folders with different seeds below it share no field.
_APART = 2**32


def write_folder(
    output,
    n_nuclei: int | None = None,
    n_fields: int | None = None,
    size_px: int | None = None,
    seed: int = 0,
    bits: int = 16,
    is_plate: bool = False,
) -> Path:
    """Write simulated nuclei, fields or a plate into a new or empty folder, all files or none; return the folder.

    Nuclei: `<output>/<phase>/<sample_id>.png` (8 bits) or `.tif` (12 and 16 bits, 64 px), and `<output>/manifest.csv`
    with the columns path, label, group (the slide) and the truth. By default 493; the phases have the study's shares,
    and from 4 nuclei on every phase has at least one.

    Fields: `<output>/fields/field_001.tif` (512 px), instance masks of the same name in `<output>/labels/` (0 is
    background), and `<output>/truth.csv` with one row per nucleus, the columns `image` and `field` first: a table of
    labelled nuclei, as `load_dataset` takes it.

    A plate: `<output>/plate/A01_s1.tif`, by default two fields per well, their plate map `<output>/map.csv`, the
    expected shares of the phases per well in `<output>/wells.csv`, and `<output>/truth.csv` as for fields; see
    `cellcycle.simulation.plate`.

    `<output>/simulated.json` names the version, seed and parameters of the simulator. Images of 12 bits are stored in
    16-bit files with values 0 to 4095, as cameras do.
    """
    output, seed = Path(output), check_whole("seed", seed)
    size_px = None if size_px is None else check_whole("size_px", size_px, 16, 4096)
    if n_nuclei is not None and n_fields is not None:
        raise SettingError("nuclei, fields", "both given", "ask for nuclei or for fields")
    if is_plate and n_nuclei is not None:
        raise SettingError("nuclei, plate", "both given", "ask for nuclei or for a plate")
    if is_plate:
        n_fields = 2 if n_fields is None else n_fields
    elif n_nuclei is None and n_fields is None:
        n_nuclei = sum(STUDY_COUNTS.values())
    number = n_fields if n_nuclei is None else n_nuclei
    if number < 1:
        raise SettingError("nuclei, fields", f"{number} asked for", "ask for at least 1")
    parameters = replace(SimulationParameters(), bits=bits)
    with whole_folder(output) as unfinished:
        if n_nuclei is not None:
            _write_nuclei(unfinished, n_nuclei, size_px or 64, seed, parameters)
        elif is_plate:
            write_plate(unfinished, n_fields, size_px or 512, seed, parameters)
        else:
            _write_fields(unfinished, n_fields, size_px or 512, seed, parameters)
        made_by = {"simulator": VERSION, "seed": seed, "parameters": repr(parameters)}
        (unfinished / MARKER).write_text(json.dumps(made_by, indent=1) + "\n", encoding="utf-8")
    return output


def share_out(n: int) -> dict[str, int]:
    """Return the number of each phase among `n` nuclei in the study's proportions, by largest remainders.

    Examples
    --------
    >>> share_out(493) == STUDY_COUNTS, share_out(8)
    (True, {'G1': 4, 'S': 2, 'G2': 1, 'M': 1})
    """
    counts = np.array([STUDY_COUNTS[phase] for phase in PHASES])
    exact = counts / counts.sum() * n
    least = int(n >= len(PHASES))
    given = np.maximum(exact.astype(int), least)
    while given.sum() < n:
        given[np.argmax(exact - given)] += 1
    while given.sum() > n:
        given[np.argmax(np.where(given > least, given - exact, -np.inf))] -= 1
    return dict(zip(PHASES, given.tolist(), strict=True))


def _write_nuclei(folder: Path, n: int, size_px: int, seed: int, parameters: SimulationParameters):
    made = simulate_nuclei(share_out(n), size_px, seed, parameters)
    suffix, kind = (".png", np.uint8) if parameters.bits == 8 else (".tif", np.uint16)
    truth = made.truth
    truth.insert(0, "path", truth["phase"] + "/" + truth["sample_id"] + suffix)
    truth.insert(1, "label", truth["phase"])
    truth.insert(2, "group", truth["slide"])
    truth["pixel_size_um"] = made.pixel_size_um
    for phase in truth["phase"].unique():
        (folder / phase).mkdir()
    for image, path in zip(made.images, truth["path"], strict=True):
        levels = np.rint(image[0] * parameters.full_scale).astype(kind)
        write_image(folder / path, levels, made.pixel_size_um)
    truth.to_csv(folder / MANIFEST, index=False)


def _write_fields(folder: Path, n: int, size_px: int, seed: int, parameters: SimulationParameters):
    (folder / "fields").mkdir()
    (folder / "labels").mkdir()
    n_nuclei = round(60 * (size_px / 512) ** 2)
    tables = []
    for k in range(n):
        number, name = seed + _APART * k, f"field_{k + 1:03d}.tif"
        slide = replace(make_slide(number, 0, parameters), name=f"slide{k + 1}")
        field = simulate_field((size_px, size_px), n_nuclei, number, parameters, slide)
        write_image(folder / "fields" / name, field.image, field.pixel_size_um)
        write_image(folder / "labels" / name, field.labels.astype(np.uint16), field.pixel_size_um)
        field.truth.insert(0, "image", f"fields/{name}")
        field.truth.insert(1, "field", name)
        field.truth["pixel_size_um"] = field.pixel_size_um
        tables.append(field.truth)
    pd.concat(tables).to_csv(folder / "truth.csv", index=False)
