"""List labelled images from folders, some of which are classes and some groups, or from a table."""

import re
from pathlib import Path

import pandas as pd

from cellcycle.datasets.lookup import ImageFolder, find_file, is_outlines, sample_id, word
from cellcycle.datasets.spelling import meaning_of_group, says_nothing
from cellcycle.datasets.tables import CLASSES, FILES, drop_repeats, other_groups, read_table
from cellcycle.errors import DataError, ImageError, shown
from cellcycle.images import list_images
from cellcycle.images.formats import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from cellcycle.images.plates import fields_of

_SPLIT = re.compile(
    r"(\d+ )?(train|training|val|valid|validation|test|testing|dev|eval|evaluation|hold ?out)"
    r"( ?(set|data|images?|split))?"
)
_PICTURES = {"image", "images", "img", "imgs", "raw"}
_NO_CLASS = re.compile(r"fold ?\d+|images|imgs|un(labell?ed|annotated|sorted|classified)|to (sort|do)")
# Columns that distinguish nuclei of one image, also under names that are not read.
_PLACE = re.compile(
    r"(?<![a-z])(centroid|bbox|bounding|coord|roi|box|axis[_-]?\d"
    r"|(object|nucle(us|i)|cell)_?(id|no?|number|index|label)"
    r"|((c|pos(ition)?|location|cent(er|re))_?)?[xy](_?(min|max|pos|c|px|[uμ]m|microns?))?)(?![a-z])"
)
# The name of a class may be followed by the number of nuclei in its folder.
_PHASE = re.compile(
    r"((not )?(early |mid |late )?(g0|g1|s|g2|m|g0 ?/?g1|g1 ?/?s|g2 ?/?m)( phase)?"
    r"|(inter|pro|prometa|meta|ana|telo)phase|(non )?mitosis|(non )?mitotic|cytokinesis|apoptosis|apoptotic|dead)"
    r"( ?\((n ?= ?)?\d+\)| n ?= ?\d+)?"
)
_ARCHIVES = {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz"}
_GROUP = re.compile(
    r"(slide|well|plate|donor|patient|animal|mouse|field|fov|site|position|pos|scan|tile|batch|replicate|rep|day|date"
    r"|experiment|exp|image|img|sample|set|series|run|cell|id)? ?([a-p]?\d[\d ]*|[a-z])?"
)


def folder_entries(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """List the images of a folder with one sub-folder per class: path, label and sample_id (the path within `folder`).

    Folders above the classes may be groups (slides, wells, donors), which become the column group, or an earlier split
    (train/, test/). Folders below the classes are groups, too, if several classes have one of the same name. Masks
    among the pictures and folders whose classes are unclear are a `DataError`.
    """
    listed = list_images(folder, (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES))
    parts = [file.relative_to(folder).parts for file in listed]
    unread = ["/".join(p) for p in parts if p[-1].lower().endswith(UNREAD_SUFFIXES)]
    parts = [p for p in parts if not p[-1].lower().endswith(UNREAD_SUFFIXES)]
    loose, paths = ["/".join(p) for p in parts if len(p) == 1], [p for p in parts if len(p) > 1]
    tables = sorted(p.name for p in folder.glob("*.csv"))
    remedy = f"give the table {tables[0]} in it, or " if tables else ""
    if not paths:
        found = f"no images in sub-folders, {len(loose)} in no folder" if loose else "no images in sub-folders"
        raise DataError(folder, found, remedy + "put the images in one sub-folder per class, e.g. G1/ S/ G2/ M/")
    _refuse_outlines(folder, paths, remedy)
    level, notes = _class_level(folder, paths, _names(paths))
    if unread:
        notes.append(f"{len(unread)} files of formats that are not read are left out, e.g. {unread[0]}")
    if loose:
        notes.append(f"{len(loose)} images lie in no class folder and are left out, e.g. {loose[0]}")
    shallow = [p for p in paths if len(p) <= level + 1]
    if shallow:
        finding = f"{len(shallow)} images lie above the classes, e.g. {'/'.join(shallow[0])}"
        raise DataError(folder, finding, "put them in a class folder, or remove them")
    notes += _without_images(folder, paths, level)
    entries = pd.DataFrame({"label": [_as_text(p[level]) for p in paths], "path": [folder.joinpath(*p) for p in paths]})
    entries["sample_id"] = [shown("/".join(p)) for p in paths]
    entries, said = _once_each(folder, entries, True)
    paths = [paths[k] for k in entries.index]
    names = _names(paths)
    telling = [
        k
        for k in range(len(names))
        if len(names[k]) > 1
        and not (_share(_SPLIT, names[k]) == 1 or set(names[k]) <= _PICTURES)
        # Folders below the classes may also be subclasses, or hold one nucleus each.
        and (k < level or (k > level and _repeat(paths, level, k) and len({p[: k + 1] for p in paths}) < len(paths)))
    ]
    if telling:
        entries["group"] = ["/".join(p[k] for k in telling if k < len(p) - 1) for p in paths]
        where = " and ".join(["above"] * (telling[0] < level) + ["below"] * (telling[-1] > level))
        wide, _, is_part = (group := next(filter(None, entries["group"]))).partition("/")
        more = f"; nuclei of {wide} may be separated, unless a table has it in a column group" if is_part else ""
        said.append(f"groups are the folders {where} the classes, e.g. {group}{more}")
    return entries, notes + said


def _names(paths) -> list[list[str]]:
    """Return the folder names at each depth."""
    return [sorted({word(p[k]) for p in paths if len(p) > k + 1}) for k in range(max(map(len, paths)) - 1)]


def _without_images(folder: Path, paths, level: int) -> list[str]:
    """Return a note on folders and archives beside the class folders from which no images are read."""
    classes = {word(p[level]) for p in paths}
    beside = [one for above in sorted({p[:level] for p in paths}) for one in sorted(folder.joinpath(*above).iterdir())]
    empty = [
        shown(one.relative_to(folder).as_posix())
        for one in beside
        if (one.is_dir() or one.suffix.lower() in _ARCHIVES)
        and one.name[0] not in "._@$"
        and word(one.name) not in classes
    ]
    return [f"no images are read from {', '.join(empty[:4])}{', ...' * (len(empty) > 4)}: no class"] if empty else []


def _once_each(source: Path, entries: pd.DataFrame, is_folder: bool) -> tuple[pd.DataFrame, list[str]]:
    """Leave out copies of images within a class and files of stains other than DNA, as `predict` does; return notes.

    In a folder, files whose names make them channels or planes of one nucleus are refused if none names the right one.
    """
    left_out: dict[str, str] = {}
    for _, files in entries.groupby(entries["label"].map(word), sort=False)["path"]:
        found, told = fields_of([str(path) if isinstance(path, Path) else path for path in files])
        left_out |= {file: what for what, of in told.items() for file in of}
        for error in found if is_folder else ():
            # Folders called w1 and w2 may be wells as well as channels: for these a note says how they are read.
            if isinstance(error, ImageError) and str(error.subject) in {str(path.parent) for path in files}:
                remedy = "list one file of each nucleus in a table with the columns path,label"
                raise DataError(source, f"{error.subject}: {error.finding}", remedy)
    whats = [left_out.get(str(path), "") for path in entries["path"]]
    notes = [
        f"{whats.count(what)} {what} are left out, e.g. {entries['sample_id'].iloc[whats.index(what)]}"
        for what in sorted({*whats} - {""})
    ]
    return entries[[not what for what in whats]], notes


def manifest_entries(file: Path, on_error: str = "raise") -> tuple[pd.DataFrame, list[str]]:
    """List the images of a manifest: path, label, sample_id (relative to its folder), optionally group and channel.

    An image that is not at its path is searched by its name (`ImageFolder`); if none or several are found, the column
    path holds the error. With `on_error` "skip", rows without a path or a label and images with contradicting rows are
    left out, and the notes say so.
    """
    columns = {"path": (*FILES, "image"), "label": CLASSES, "group": (), "channel": ()}
    table, notes = read_table(file, columns, ("path", "label"))
    empty = table["path"].map(says_nothing) | table["label"].map(says_nothing)
    if empty.any():
        line = table.index[empty][0]
        where = f"line {line} has no path or no label ({table.loc[line, 'path']!r}, {table.loc[line, 'label']!r})"
        if on_error == "raise" or empty.all():
            finding = where + (f", nor have {empty.sum() - 1} others" if empty.sum() > 1 else "")
            rest = "" if empty.all() else ', delete the row, or leave such rows out: on_error="skip"'
            raise DataError(file, finding, f"fill it in{rest}")
        notes.append(f"{empty.sum()} rows without a path or a label are left out: {where}")
        table = table[~empty]
    found, moved = _found(file.parent, table["path"])
    entries = table.assign(path=found["path"], sample_id=found["sample_id"])
    if moved:
        notes.append(f"{len(moved)} images are found by their names, not where the table says: {moved[0]}")
    places = [name for name in table.attrs["header"] if _PLACE.search(name)]
    if places and found["file"].drop(table.attrs["repeats"], errors="ignore").duplicated().any():
        finding = f"images occur in several rows, and {', '.join(places[:4])} may tell their nuclei apart"
        # The folder was given, which reads the manifest as a list of images; the table itself is read as fields.
        is_here = {"centroid_y_px", "centroid_x_px"} <= set(places)
        remedy = (
            f"give the table itself, {file}" if is_here else "give places in px, as centroid_y_px and centroid_x_px"
        )
        raise DataError(file, finding, remedy)
    has_group = ~entries["group"].map(says_nothing) if "group" in entries else pd.Series(False, entries.index)
    entries["group"] = entries["group"].where(has_group, "") if has_group.any() else ""
    alike = [name for name in ("label", "group", "channel") if name in entries]
    kept, said = drop_repeats(file, entries, found["file"], alike, entries["sample_id"], on_error)
    kept, left_out = _once_each(file, kept, False)
    return (kept if has_group.any() else kept.drop(columns="group")), notes + said + left_out + other_groups(table)


def _found(folder: Path, texts: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return the image of each cell of a table (path, sample_id, resolved file), and notes on images found elsewhere.

    If no image is found, path is the error that says why, and file the text of the cell.
    """
    images, rows, moved = ImageFolder(folder, True, texts), [], []
    for text in texts:
        try:
            path = images.find(text)
        except ImageError as error:
            rows.append((error, shown(text), text))
            continue
        rows.append((path, sample_id(folder, path), path.resolve()))
        if path != find_file(folder, text):
            moved.append(f"{text} is {path}")
    return pd.DataFrame(rows, texts.index, ["path", "sample_id", "file"]), moved


def _as_text(name: str) -> str:
    """Return the name of a folder with undecodable bytes made visible and everything else unchanged."""
    return "".join(shown(c) if "\udc80" <= c <= "\udcff" else c for c in name)


def _refuse_outlines(folder: Path, paths, remedy: str) -> None:
    """Refuse masks beside pictures: a mask is no picture of a nucleus, and such folders are not classes."""
    inside: dict[tuple, dict[str, None]] = {}
    for p in paths:
        for level, name in enumerate(p):
            inside.setdefault(p[:level], {})[name if level == len(p) - 1 else f"{name}/"] = None
    for where, names in inside.items():
        stems = {name.rpartition(".")[0]: name for name in names if not name.endswith("/")}
        beside = [
            (stems[stem[: m.start()]], name)
            for stem, name in stems.items()
            for m in re.finditer("[_. -]", stem)
            if stem[: m.start()] in stems and is_outlines(stem[m.end() :])
        ]
        others = [name for name in names if not is_outlines(name.strip("/"))]
        others.sort(key=lambda name: word(name.strip("/")) not in _PICTURES)
        folders = [name for name in names if name.endswith("/") and is_outlines(name.strip("/"))]
        beside += [(others[0], name) for name in folders if others]
        if beside:
            finding = f"{'/'.join(where) or 'it'} holds {beside[0][1]} beside {beside[0][0]}: outlines, not classes"
            remedy += "put crops of nuclei in one sub-folder per class, or label the nuclei in a table"
            raise DataError(folder, finding, remedy)


def _class_level(folder: Path, paths, names: list[list[str]]) -> tuple[int, list[str]]:
    """Return the depth of the class folders, 0 for the outermost, and notes; `names` are the folder names per depth."""
    # Take the median depth: files at other depths are few, and are refused or noted later.
    depth = sorted(len(p) for p in paths)[len(paths) // 2] - 1
    start, notes = 0, []
    while start + 1 < depth and _share(_SPLIT, names[start]) == 1:
        notes.append(f"{', '.join(names[start])} are read as one set: the folders in them are the classes")
        start += 1
    named = [level for level in range(start, depth) if _share(_PHASE, names[level]) > 0.5]
    if named:
        level = named[0]
    elif start + 1 == depth or (
        not _tell_phases(names[start + 1])
        and (not _repeat(paths, start, start + 1) or _share(_GROUP, names[start + 1]) > 0.5)
    ):
        level = start
    elif _share(_GROUP, names[start]) > 0.5:
        level = start + 1
    else:
        two = [", ".join(names[k][:3]) for k in (start, start + 1)]
        finding = f"it is not clear whether {two[0]} or the folders in them ({two[1]}) are the classes"
        raise DataError(folder, finding, "write a table with the columns path,label,group")
    # "test" beside "control" and "valid" beside "invalid" are classes; beside phases or "train" they are a split.
    splits = [name for name in names[level] if _SPLIT.fullmatch(name)]
    is_split = any(re.search("train|validation", name) for name in splits) or _share(_PHASE, names[level]) > 0
    wrong = splits if is_split else []
    wrong += [name for name in names[level] if _NO_CLASS.fullmatch(name) or is_outlines(name)]
    if wrong:
        finding = f"{', '.join(wrong)}: a folder of this name is not a class"
        raise DataError(folder, finding, "keep one sub-folder per class, and nothing else beside them")
    classes = set(names[level])
    for p in (p for p in paths if len(p) > level + 1):
        inner = [name for k, name in enumerate(p[:-1]) if k != level and word(name) in classes]
        if inner and word(inner[0]) != word(p[level]):
            raise DataError(folder, f"{'/'.join(p)} lies under two classes", "move it to one of them")
    return level, notes


def _share(pattern: re.Pattern, names) -> float:
    """Return the fraction of names that a pattern matches completely."""
    return sum(bool(pattern.fullmatch(name)) for name in names) / len(names)


def _tell_phases(names: list[str]) -> bool:
    """Return whether names contain G1, S and G2 as words, beside e.g. numbers of nuclei; wells G1, G2 have no S."""
    said = {part for name in names for part in name.split()}
    return {"g1", "s", "g2"} <= said


def _repeat(paths, level: int, below: int) -> bool:
    """Return whether a folder name at depth `below` occurs in more than one folder of depth `level`."""
    owners: dict[str, set[str]] = {}
    for p in paths:
        if len(p) > below + 1:
            owners.setdefault(meaning_of_group(p[below]), set()).add(p[level])
    return any(len(above) > 1 for above in owners.values())
