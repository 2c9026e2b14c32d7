"""Images that are read together on the page, as on the command line; runs in child processes, like `worker`."""

import contextlib
import hashlib
import html
import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from cellcycle.app import worker
from cellcycle.errors import DataError, ImageError
from cellcycle.images.listing import refused_by_name
from cellcycle.light import Light
from cellcycle.names import cell
from cellcycle.nuclei import Anchor
from cellcycle.predict import AUTO, Settings
from cellcycle.predict.given import Given, Shared
from cellcycle.predict.groups import layout, named_in
from cellcycle.predict.many import look_first, workers_of
from cellcycle.predict.predictor import ModelChoice

# File in the folder of a plane: what other images provide for its next call.
_LENT = "lent.json"
# The number that `cellcycle.names.apart` adds to images of one name.
_NUMBER = re.compile(r" \(\d+\)(?=\.\w+$)")
# Most letters of a text in a map, so that it still fits in a request as the control, see `cellcycle.app.asked`.
_MOST_LETTERS = 120


def together(
    planes: list[Path], names: list[str], model: str, settings: Settings, how: str, plate_map: Path | None = None
) -> tuple[list[str], list[str]]:
    """Compute what images that are read together share (G1 peak, light ...), and store it beside their planes.

    `how` is that of `cellcycle.predict.many.look_first`. Nuclei are those of `worker.find`; an image without nuclei
    provides nothing. Returns a hash of the way to call each image, and notes for the visitor. `told` reads it.
    """
    choice = ModelChoice.of(AUTO if model == AUTO else worker.checkpoint_of(model))
    refused = {} if how == "each" else _refused(names, plate_map)
    columns, notes = lay_out(names, plate_map, refused)
    # The names come from a visitor, so no file is opened by them, even if the stored ones are gone.
    images = [
        Given.of(ImageError(name, "it cannot be read", "give it again"), file=worker.found_file(plane, model, settings))
        for name, plane in zip(names, planes, strict=True)
    ]
    for image in images:
        image.told = Shared(refusal=refused.get(image.path, ()))
    fields = [image for image in images if not image.told.refusal]
    notes += _note_on_twins([image.path for image in fields], columns)
    with workers_of(choice, settings) as do:
        more = look_first(fields, choice, settings, columns, how, do)
    ways = []
    for plane, image in zip(planes, images, strict=True):
        one = image.told
        is_plain = Shared() == replace(one, columns={}) and not any(map(str, one.columns.values()))
        lent = "" if is_plain else json.dumps({"shared": asdict(one)})
        with contextlib.suppress(FileNotFoundError):
            (plane / _LENT).write_text(lent)
        ways.append(_way(model, settings, lent))
    # A group without plate or slide is named after a file or folder of this server, which means nothing to a visitor.
    group, words = (plate_map.stem, "the plate map") if plate_map else (os.curdir, "your images")
    called = re.compile(rf"(?<=fields of ){re.escape(group)}(?=[ :])")
    return ways, [called.sub(words, note) for note in (*notes, *more)]


def _note_on_twins(names: list[str], columns: list[dict]) -> list[str]:
    """Return a note if images of one name, perhaps from folders of several plates, count in one well."""
    place_of = {name: (own["plate"], own["well"]) for name, own in zip(names, columns, strict=True) if own["well"]}
    numbered = filter(_NUMBER.search, place_of)
    twins = [name for name in numbered if place_of.get(_NUMBER.sub("", name)) == place_of[name]]
    note = f"{len(twins)} images have the name of another, such as {''.join(twins[:1])}: folders are not known here, "
    return [f"{note}so their wells count as one; a map with the columns image and plate separates them"] * bool(twins)


def told(plane: Path, model: str, settings: Settings) -> tuple[Shared, str]:
    """Return what other images provide for an image, as stored by `together`, and the hash of that way to call it."""
    lent = (plane / _LENT).read_text() if (plane / _LENT).exists() else ""
    way = _way(model, settings, lent)
    if not lent:
        return Shared(), way
    shared = json.loads(lent)["shared"]
    made = {k: of(**shared[k]) for k, of in (("anchor", Anchor), ("light", Light)) if shared[k]}
    return Shared(**shared | made), way


def _way(model: str, settings: Settings, lent: str) -> str:
    return hashlib.sha256(json.dumps([model, asdict(settings), lent]).encode()).hexdigest()[:16]


def _refused(names: list[str], plate_map: Path | None) -> dict[str, tuple[str, str]]:
    return refused_by_name(names, named_in(plate_map, names))


def lay_out(names: list[str], plate_map: Path | None, refused=None) -> tuple[list[dict], list[str]]:
    """Return the columns of images from their names and a plate map, and notes; DataError if the map is unusable.

    Images in `refused` (by default those refused by their names) are left out.
    """
    refused = _refused(names, plate_map) if refused is None else refused
    with worker.told_as("the plate map", plate_map):
        columns, notes = layout([name for name in names if name not in refused], plate_map, has_files=False)
        for name, text in [pair for own in columns for pair in own.items() if isinstance(pair[1], str)]:
            if len(text) > _MOST_LETTERS:
                finding = f"the {name} {text[:20]}... has {len(text)} letters, more than {_MOST_LETTERS}"
                raise DataError(plate_map, finding, "shorten it")
        # A visitor does not know the server's name of the map.
        return columns, [note.replace(plate_map.name, "the plate map") if plate_map else note for note in notes]


def table(images: list[tuple[Path, dict[str, str]]]) -> str:
    """Return the rows of all images as one table (CSV), with `corrected` as the last column.

    If models have different classes, cells of classes that a row lacks are empty.
    `images` are files of rows, and labels of their nuclei: number -> class or "none".
    """
    tables = []
    for rows, said in images:
        found = pd.read_csv(rows, dtype=str, keep_default_na=False)
        tables.append(found.assign(corrected=[cell(said.get(number, "")) for number in found["nucleus_id"]]))
    return pd.concat(tables).to_csv(index=False, lineterminator="\n")


@contextlib.contextmanager
def _experiment(images, control: str):
    """Yield the `table` of all images as a file, and as an experiment."""
    from cellcycle.report import read_experiment

    with TemporaryDirectory() as folder:
        file = Path(folder, "nuclei.csv")
        file.write_text(table(images), "utf-8", newline="")
        with worker.told_as("your images", file, "they"):
            experiment = read_experiment([file], control or None)
        yield file, experiment


def summary(images, control: str) -> list[dict]:
    """Return nuclei and estimated shares with intervals per condition (or well, image), without corrections."""
    from cellcycle.report.numbers import all_numbers

    with _experiment(images, control) as (_, experiment):
        numbers, arms = all_numbers(experiment), {}
    for row in numbers[numbers["table"] == "estimated"].itertuples():
        arm = {"arm": row.arm, "nuclei": row.n_nuclei, "images": row.n_fields, "shares": {}}
        shares = arms.setdefault(row.arm, arm)["shares"]
        shares[row.quantity] = [None if v != v else round(float(v), 4) for v in (row.value, row.low, row.high)]
    return list(arms.values())


def report(images, control: str) -> bytes:
    """Return the files of `cellcycle report` for the `table` of images, zipped, without pictures of nuclei."""
    from cellcycle.report import write_report

    n_said = sum(len(said) for _, said in images)
    with _experiment(images, control) as (rows, experiment):
        file = rows.with_name("report.html")
        write_report(file, experiment, [rows], None)
        # Do not show visitors a path of this server.
        page = file.read_text("utf-8").replace(html.escape(str(rows)), rows.name)
        if n_said:
            words = f"These are the model's calls: the {n_said} corrections in the table nuclei.csv are not counted."
            page = page.replace("</h1>", f"</h1>\n<p>{words}</p>", 1)
        file.write_text(page, "utf-8", newline="")
        return worker.zipped([file, file.with_name("report_numbers.csv"), rows])
