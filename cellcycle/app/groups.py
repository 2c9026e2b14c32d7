"""Images that are read together on the page, as the command line reads them; in child processes, as `worker`."""

import contextlib
import csv
import hashlib
import io
import json
import os
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cellcycle.app import worker
from cellcycle.errors import CellCycleError, DataError, ImageError
from cellcycle.nuclei import Anchor
from cellcycle.predict import AUTO, Settings
from cellcycle.predict.groups import Shared, layout
from cellcycle.predict.light import Light
from cellcycle.predict.many import look_first
from cellcycle.predict.predictor import ModelChoice

_G1 = ("g1_position", "g1_quality", "g1_area_px")
# Groups that are named by a folder or a map, in words.
_IN_WORDS = {" of .:": " of your images:", " of map:": " of the plate map:"}


def together(
    planes: list[Path], names: list[str], model: str, settings: Settings, how: str, plate_map: Path | None = None
) -> tuple[list[dict | None], list[str]]:
    """Return what each image is lent by those that are read with it, for `told`, and notes for the visitor.

    `how` is that of `cellcycle.predict.many.look_first`. Nuclei are those that `worker.find` found; an image without
    any lends nothing.
    """
    choice = ModelChoice.of(AUTO if model == AUTO else worker.checkpoint_of(model))
    columns, notes = _layout(names, plate_map)
    with TemporaryDirectory() as folder:
        for k, plane in enumerate(planes):
            # A link that stays good where the visitor removes the image meanwhile.
            with contextlib.suppress(FileNotFoundError):
                os.link(worker.found_file(plane, model, settings), Path(folder, f"{k}.npz"))
        # The names are a visitor's: nothing is read by them, whatever becomes of the files.
        nothing = [ImageError(name, "it cannot be read", "give it again") for name in names]
        found, shared, more = look_first(nothing, choice, settings, columns, how, folder=Path(folder))
    g1 = None if found == settings else [getattr(found, name) for name in _G1]
    return [_as_json(g1, one) for one in shared], list(map(_in_words, (*notes, *more)))


def _in_words(note: str) -> str:
    for group, words in _IN_WORDS.items():
        note = note.replace(group, words)
    return note


def _as_json(g1: list | None, shared: Shared) -> dict | None:
    """Return what an image is lent as JSON takes it; None where that changes nothing."""
    lent = {"g1": g1, "shared": asdict(shared)}
    is_plain = g1 is None and Shared() == replace(shared, columns={}) and not any(map(str, shared.columns.values()))
    return None if is_plain else json.loads(json.dumps(lent))


def told(lent: dict | None, settings: Settings) -> tuple[Settings, Shared]:
    """Return the settings and what other images lend, of what `together` gave for an image."""
    if lent is None:
        return settings, Shared()
    shared = Shared(**lent["shared"])
    anchor, light = (None if own is None else kind(**own)
                     for own, kind in ((shared.anchor, Anchor), (shared.light, Light)))  # fmt: skip
    shared = replace(shared, anchor=anchor, light=light)
    return (settings if lent["g1"] is None else replace(settings, **dict(zip(_G1, lent["g1"], strict=True)))), shared


def digest_of(model: str, settings: Settings, lent: dict | None) -> str:
    """Return what tells apart ways to call an image."""
    return hashlib.sha256(json.dumps([model, asdict(settings), lent]).encode()).hexdigest()[:16]


def check_map(plate_map: Path, names: list[str]) -> list[str]:
    """Return notes on how a plate map was read, or refuse it by a `DataError`."""
    return _layout(names, plate_map)[1]


def _layout(names: list[str], plate_map: Path | None) -> tuple[list[dict], list[str]]:
    try:
        return layout(names, plate_map, has_files=False)
    except CellCycleError as error:
        raise DataError("the plate map", str(error.finding).replace(str(plate_map), "it"), str(error.remedy)) from None


def joined(files: list[Path]) -> str:
    """Join tables in CSV; where models have other classes, a row has empty cells for those it lacks."""
    tables = [file.read_text("utf-8") for file in files]
    heads = list(dict.fromkeys(table.partition("\n")[0] for table in tables))
    if len(heads) < 2:
        return "".join([*heads, "\n", *(table.partition("\n")[2] for table in tables)])
    names = dict.fromkeys(name for head in heads for name in next(csv.reader([head])))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(names), lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerows(csv.DictReader(io.StringIO(table)))
    return stream.getvalue()


def summary(table: Path, control: str) -> list[dict]:
    """Return how many nuclei each condition (or well, or image) has, and the shares of their phases with intervals."""
    from cellcycle.report.numbers import all_numbers

    numbers, arms = all_numbers(_experiment(table, control)), {}
    for row in numbers[numbers["table"] == "estimated"].itertuples():
        arm = {"arm": row.arm, "nuclei": row.n_nuclei, "images": row.n_fields, "shares": {}}
        shares = arms.setdefault(row.arm, arm)["shares"]
        shares[row.quantity] = [None if v != v else round(float(v), 4) for v in (row.value, row.low, row.high)]
    return list(arms.values())


def report(table: Path, control: str) -> bytes:
    """Return what `cellcycle report` writes of a table, without pictures of nuclei, zipped."""
    from cellcycle.report import write_report

    file = table.with_name("report.html")
    write_report(file, _experiment(table, control), [table], table.parent)
    packed = table.with_name("report.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in (file, file.with_name("report_numbers.csv"), table):
            archive.write(part, part.name)
    return packed.read_bytes()


def _experiment(table: Path, control: str):
    from cellcycle.report import read_experiment

    try:
        return read_experiment([table], control or None)
    except CellCycleError as error:
        subject = str(error.subject).replace(str(table), "your images")
        raise DataError(subject, str(error.finding).replace(str(table), "they"), str(error.remedy)) from None
