"""Joins the tables of an experiment: one model and prior, each image once, equal plate names of two sources parted."""

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.labels import stated
from cellcycle.datasets.spelling import clean, refuse_twins
from cellcycle.errors import DataError
from cellcycle.images.remote import is_url
from cellcycle.images.wells import share_no_well
from cellcycle.predict.table import NUMBERS_OF_MAP, TEXTS_OF_MAP
from cellcycle.review import read_table
from cellcycle.review.doubt import classes_of
from cellcycle.review.table import texts_of
from cellcycle.segmentation.same_field import MIN_NUCLEI, same_fields
from cellcycle.splits import joined

_NAMES = ("plate", "well", "condition", "replicate")
_NEEDED = ("model", "version", "prior", "review", "dna_copies", "edge_width_px")
# Columns that a table may lack, and their values then.
_OTHERS = {"model_reason": "", "kind": "field", "channel": "", "planes": ""}
_OTHERS |= {"g1_quality": np.nan, "pixel_size_um": np.nan}
# Copies of a picture have the same DNA before the light correction, to this relative tolerance.
_ROUNDING = 0.01
# Probabilities that a spreadsheet rounded add up to 1 within this.
_ROUNDED = 0.05
_CONTENT = ["nucleus_id", "centroid_y_px", "centroid_x_px", "area_px", "background"]


def read_joined(paths) -> pd.DataFrame:
    """Return the rows of prediction tables, with clean names ("" for none) in `_NAMES` and `group`.

    Raises `DataError` if tables, or rows of one, are of several models, versions or priors, if a picture occurs twice,
    or if two spellings of one name occur.
    """
    source = ", ".join(map(str, paths))
    # If a plate is predicted well by well, some tables may hold only empty wells.
    tables = [read_table(path, needs_nuclei=len(paths) == 1) for path in paths]
    tables = [t.assign(**{name: value for name, value in _OTHERS.items() if name not in t}) for t in tables]
    if not any(table["nucleus_id"].notna().any() for table in tables):
        raise DataError(source, "none of their rows holds a nucleus", "look at the images")
    _check_alike(paths, tables)
    for k, table in enumerate(tables):
        if "donor" in table and not ("replicate" in table and table["replicate"].any()):
            table = table.assign(replicate=table["donor"])
        names = {name: table[name].map(clean) if name in table else "" for name in (*_NAMES, "group")}
        tables[k] = table.assign(source=k, **names)
    table = pd.concat(tables, ignore_index=True)
    # Tables may have different columns, so empty cells are filled after joining.
    table = _located(paths, table.assign(**texts_of(table)))
    _check_once(paths, table)
    table = _called(paths, table)
    if "slide" in table:
        # A chamber slide is the plate of its wells.
        table["plate"] = table["plate"].mask((table["plate"] == "") & (table["well"] != ""), table["slide"].map(clean))
    for name in {*_NAMES, "time", "cell_line"} & {*table}:
        # Spreadsheets may write 1 and 2 as 1.0 and 2.0.
        plain = table[name].str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
        table[name] = plain.where(plain.isin(table[name]), table[name])
    table = _told_apart(paths, table).drop(columns=["found", "told", "located", "source"])
    for name in ("plate", "well", "condition"):
        refuse_twins(source, name, table[name])
    for _, own in table.groupby("condition"):
        refuse_twins(source, "replicate", own["replicate"])
    return table


def _check_alike(paths, tables) -> None:
    """Raise DataError if calls of the tables cannot be compared: other versions, models, priors or phases."""
    for path, table in zip(paths, tables, strict=True):
        if missing := [name for name in _NEEDED if name not in table]:
            finding = f"it comes from another version of cellcycle, or was cut: no column {', '.join(missing)}"
            raise DataError(path, finding, "predict the images again")
    seen, models = {}, set()
    # One run can give both priors: a field without a G1 peak gets that of a culture.
    of_slides = {kind for t in tables for kind in t.loc[t["prior"].str.startswith("slide"), "kind"]}
    for path, table in zip(paths, tables, strict=True):
        _check_probabilities(path, table)
        called = table[table["model"] != ""]
        said = {f"the version of {model}": set(own["version"]) for model, own in called.groupby("model")}
        for kind, own in called.groupby("kind"):
            priors = {prior.split(" ")[0] for prior in own["prior"]} - ({"culture"} if kind in of_slides else set())
            if priors:
                said[f"the prior of its {kind} images"] = priors
        said["its set of phases"] = {", ".join(classes_of(table))}
        for what, own in said.items():
            told = " and ".join(sorted(own))
            first, before = seen.setdefault(what, (path, told))
            if before != told or len(own) > 1:
                other = f", but in {first} it is {before}" * (before != told)
                raise DataError(path, f"{what} is {told}{other}", "predict all images with one")
        own = set(called["model"])
        if models and own and models.isdisjoint(own):
            finding = f"its model is {', '.join(sorted(own))}, but in {paths[0]} it is {', '.join(sorted(models))}"
            raise DataError(path, finding, "predict all images with one")
        models |= own


def _check_probabilities(path, table) -> None:
    """Raise DataError if probabilities of a row do not add up to 1, e.g. after a column was edited."""
    scores = table[[f"p_{name}" for name in classes_of(table)]]
    is_asked = (table["call"] != "") | scores.notna().any(axis=1)
    is_bad = is_asked & ~((scores >= 0).all(axis=1) & np.isclose(scores.sum(axis=1), 1, atol=_ROUNDED))
    if is_bad.any():
        row = int(is_bad.to_numpy().argmax())
        told = ", ".join(f"{name} {value:g}" for name, value in scores.iloc[row].items())
        raise DataError(path, f"row {row + 1} has no probabilities that add up to 1 ({told})", "predict again")


def _located(paths, table) -> pd.DataFrame:
    """Return the table with `found`, `told` and `located`; drop unreadable images that another table could read.

    `told` is the absolute path of an image as found from here. If several tables have the same one, `located` is a path
    inside the table's own name instead, unless they hold different planes of a file that is there: tables made in
    several folders may have been moved into one.
    """
    keys = list(zip(table["source"], table["image"], strict=True))
    found = {(k, image): _found(paths[k], image) for k, image in set(keys)}
    told = {key: os.path.abspath(path) for key, path in found.items()}
    seen = {(k, image) for k, image in found if not (os.path.isabs(image) or is_url(image))}
    inside = told | {(k, image): os.path.abspath(os.path.join(paths[k], image)) for k, image in seen}
    wheres = {"found": found, "told": told, "located": inside}
    table = table.assign(**{what: [where[key] for key in keys] for what, where in wheres.items()})
    is_unread = table["flags"].str.contains("unreadable")
    table = table[~is_unread | ~table["told"].isin(table["told"][~is_unread])].reset_index(drop=True)
    # Times or planes of a file that is there, each in a table of its own, are of one file.
    planes, told = stated(table)["planes"], table["told"]
    is_once = table["source"].groupby([told, planes]).transform("nunique").groupby(told).transform("max") == 1
    is_parted = is_once & (planes != "") & told.isin([path for path in set(told) if os.path.exists(path)])
    is_shared = (table["source"].groupby(told).transform("nunique") > 1) & ~is_parted
    return table.assign(located=table["located"].where(is_shared, table["told"]))


def _called(paths, table) -> pd.DataFrame:
    """Return the table with unique image names: equal ones become the path from here, or are prefixed by the table."""
    beside = table["source"].map(lambda k: f"{paths[k]}: ") + table["image"]
    names = table["found"].where(table["located"] == table["told"], beside)
    is_one = table.groupby("image")["located"].transform("nunique") == 1
    return table.assign(image=table["image"].where(is_one, names))


def _found(table, image: str) -> str:
    """Return the path of an image relative to its table's folder, or as it is if it exists only relative to here."""
    beside = image if is_url(image) else os.path.join(os.path.dirname(table), image)
    return image if os.path.exists(image) and not os.path.exists(beside) else beside


def _check_once(paths, table) -> None:
    """Raise DataError if a picture would count twice: an equal path, or a file of that name with the same nuclei.

    Two times or planes of one image are two pictures. If tables share a path, they hold one picture if their nuclei lie
    at the same places, or, with too few nuclei for that, if the file exists.
    """
    seen: dict[tuple, list[tuple[int, str, np.ndarray]]] = defaultdict(list)
    content = table.reindex(columns=_CONTENT).to_numpy(np.float32)
    lit = table.reindex(columns=["integrated_dna", "light"]).astype(float).fillna({"light": 1.0})
    lit = lit.prod(axis=1).to_numpy()
    is_copy = table["flags"].str.contains("same_field").to_numpy()
    pictures = table[["source", "image", "told", "located"]].assign(planes=stated(table)["planes"])
    # Unreadable files do not count, and may have been predicted again.
    pictures["image"] = pictures["image"].mask(table["flags"].str.contains("unreadable"))

    def is_as_bright(rows, first) -> bool:
        return np.allclose(lit[rows], lit[first], rtol=_ROUNDING, equal_nan=True)

    def is_one(rows, first) -> bool:
        places = [own[np.isfinite(own).all(axis=1), 1:] for own in (content[rows, :3], content[first, :3])]
        if min(map(len, places)) < MIN_NUCLEI:
            return os.path.exists(table["told"].iloc[rows[0]])
        shape = np.concatenate(places).max(axis=0)
        return bool(same_fields(places, [shape, shape]))

    for (k, image, told, located, planes), rows in pictures.groupby([*pictures], sort=False).indices.items():
        # A spreadsheet may have sorted the rows.
        rows = rows[np.argsort(content[rows, 0], kind="stable")]
        keys: dict[tuple, Callable | None] = {(located, planes): None}
        if np.isfinite(content[rows, 0]).any():
            keys[os.path.basename(os.path.normpath(image)), content[rows].tobytes()] = is_as_bright
        keys.setdefault((told, planes), is_one)
        for key, is_same in keys.items():
            alike = (own for own in seen[key] if is_same is None or is_same(rows, own[2]))
            other, name, _ = next(alike, (k, image, rows))
            # Copies that were predicted together have the flag same_field, so they are allowed.
            is_told = is_same is not None and is_copy[rows].any()
            if other != k or (name != image and not is_told):
                where = paths[other] if other != k else "it"
                as_name = f" as {name}" * (name != image)
                raise DataError(paths[k], f"{image} is also in {where}{as_name}", "give each image once")
            seen[key].append((k, image, rows))


def check_pictures(paths, table) -> None:
    """Raise DataError if a picture has several wells, conditions or doses, as after a column was sorted by itself."""
    names = [name for name in (*_NAMES, *TEXTS_OF_MAP, *NUMBERS_OF_MAP) if name in table]
    told = table[["image", *dict.fromkeys(names)]].assign(planes=stated(table)["planes"]).drop_duplicates()
    for (image, _), own in told[told.duplicated(["image", "planes"], keep=False)].groupby(["image", "planes"]):
        one, two = own.iloc[0].astype(str), own.iloc[1].astype(str)
        name = next(name for name in names if one[name] != two[name])
        finding = f"{image} has the {name} {one[name] or 'none'} in one row, and {two[name] or 'none'} in another"
        raise DataError(", ".join(map(str, paths)), finding, "give it one; or was a column sorted by itself?")


def _told_apart(paths, table) -> pd.DataFrame:
    """Return the table; plates and groups of one name from several tables with other image folders get distinct names.

    So do plates without a name. A plate is one, whatever its folders, if no well occurs in two tables.
    """
    for column, said in (("plate", table["plate"] + table["well"]), ("group", table["group"])):
        for name, own in table[said != ""].groupby(column):
            folders, _ = own["located"].map(os.path.dirname).factorize()
            parts = [part for _, part in own.groupby(joined(np.column_stack([own["source"], folders])))]
            if column == "plate":
                wells = {k: set(part["well"]) for k, part in enumerate(parts)}
                parts = [] if share_no_well(wells) else parts
            for part in parts if len(parts) > 1 else ():
                first = part["source"].min()
                table.loc[part.index, column] = f"{name or 'unnamed'} ({Path(paths[first]).stem}, {first + 1})"
    return table
