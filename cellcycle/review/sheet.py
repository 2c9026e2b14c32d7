"""A contact sheet of nuclei in one HTML file: it needs no server and loads nothing from the network."""

import base64
import hashlib
import html
import json
import os
import re
from importlib.resources import files
from pathlib import Path

from cellcycle.datasets.labels import NONE, pictures_of, stated
from cellcycle.errors import DataError, SettingError, check_whole
from cellcycle.files import check_path, refuse_other, whole_file
from cellcycle.phases import class_colours
from cellcycle.review.doubt import classes_of, in_words, reason_codes, reasons, review_order, sureness
from cellcycle.review.labels import csv_line, labelled_rows, rounded
from cellcycle.review.table import texts_of
from cellcycle.review.thumbnails import thumbnails

# Most nuclei on a page: it is then about 12 MB and still responds quickly.
MOST = 2000


def write_sheet(path, table, images=".", *, most: int = MOST, title: str = "nuclei", channel=None, plane=None) -> dict:
    """Write the page on which a person corrects calls, doubtful ones first, atomically; about 5 KB per nucleus.

    The browser stores the labels under a hash of the table; the page saves them as a labels table
    (`cellcycle.review.read_labels`) that `cellcycle train` takes.

    `table` is a prediction table from `read_table` or `predict`, named `title` on the page; `images` is the folder of
    its images. They are read in the table's `channel` and `planes`, or in the `channel` and `plane` given here
    (`cellcycle.images.read_plane`), which go into the labels table if it has none. Returns the numbers of nuclei
    `shown`, `doubtful`, and `left_out` because of `most`, and `problems`: one `ImageError` per picture whose nuclei are
    left out because it is missing, unreadable or another one of the same name. DataError if no nucleus can be shown.
    """
    check_whole("most", most, 1, MOST)
    check_path(path)
    if Path(os.path.realpath(path)).suffix.lower() not in ("", ".html", ".htm"):
        # An existing file, such as an image or the table itself, would be overwritten.
        raise SettingError(path, "this is not the name of a page", "end the name in .html")
    refuse_other(path, "<title>Review of ", "review")
    table = table.assign(**texts_of(table))
    order = review_order(table).tolist()
    if not order:
        raise DataError(title, "it holds no nucleus", "predict images that show some")
    table = _with_choice(table, channel, plane)
    shown, problems = {}, []
    for found in thumbnails(table, order[:most], images, channel, plane):
        if isinstance(found, Exception):
            problems.append(found)
        else:
            shown[found.row] = found
    if not shown:
        others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise DataError(problems[0].subject, problems[0].finding + others, problems[0].remedy)
    nuclei = _nuclei(table, [shown[row] for row in order[:most] if row in shown])
    left_out = len(order) - len(order[:most])
    content = _page(_about(table, nuclei, title, left_out), nuclei)
    with whole_file(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8", errors="replace", newline="")
    doubtful = sum(bool(nucleus["codes"]) for nucleus in nuclei)
    return {"shown": len(nuclei), "doubtful": doubtful, "left_out": left_out, "problems": problems}


def _nuclei(table, pictures) -> list[dict]:
    """Return the page's data on each nucleus, with its CSV line, so that the page need not quote."""
    called, own = pictures_of(table), table.iloc[[picture.row for picture in pictures]]
    has_copies = "dna_copies" in table and table["dna_copies"].notna().any()
    dna = own["dna_copies" if has_copies else "integrated_dna"] if "integrated_dna" in own else None
    sure, why, codes = sureness(own), reasons(own), reason_codes(own)
    scores = own[[f"p_{name}" for name in classes_of(own)]].to_numpy(dtype=float)
    rows = labelled_rows(own, dict.fromkeys(range(len(own)), NONE))
    return [
        {
            "row": picture.row,
            "image": called[picture.row],
            "id": int(own["nucleus_id"].iloc[k]),
            "call": str(own["call"].iloc[k]),
            "p": [rounded(value, 3) for value in scores[k]],
            "sure": rounded(sure[k], 4),
            "why": why[k],
            "codes": codes[k],
            "dna": None if dna is None else rounded(dna.iloc[k], 2),
            "area": rounded(own["area_um2"].iloc[k], 0) if "area_um2" in own else None,
            "picture": picture.jpeg,
            "box": picture.box,
            "dim": picture.brightness,
            "wide": rounded(picture.side_um, 1),
            "guessed": "scale_unknown" in str(own["flags"].iloc[k]).split(";"),
            "csv": _around_label(rows[k] | {"image_sha256": picture.sha256}),
        }
        for k, picture in enumerate(pictures)
    ]


def _with_choice(table, channel, plane):
    """Return the table with the given channel and plane in rows that state none, and with the column `image_sha256`,
    "" if the table has none.
    """
    said, table = stated(table), table if "image_sha256" in table else table.assign(image_sha256="")
    for name, value in (("channel", channel), ("planes", plane)):
        if value is not None:
            table = table.assign(**{name: said[name].where(said[name] != "", str(value))})
    return table


def _around_label(row: dict) -> list[str]:
    """Return the text before and after the label in a nucleus's line of the labels table."""
    k, cells = list(row).index("label"), list(row.values())
    return [csv_line(cells[:k]).removesuffix("\n"), csv_line(cells[k + 1 :])]


def _about(table, nuclei: list[dict], title: str, left_out: int) -> dict:
    classes = classes_of(table)
    codes = sorted({code for nucleus in nuclei for code in nucleus["codes"]})
    header = list(labelled_rows(table, {nuclei[0]["row"]: NONE})[0])
    models = sorted(set(table["model"]) - {""}) if "model" in table else []
    return {
        "title": title,
        "hash": _hash(table),
        "classes": list(classes),
        "colours": list(class_colours(classes).values()),
        "labels": {name: csv_line([name]).removesuffix("\n") for name in (*classes, NONE)},
        "none": NONE,
        "header": csv_line(header),
        "reasons": {code: in_words(code) for code in codes},
        "models": models,
        "unit": "N" if "dna_copies" in table and table["dna_copies"].notna().any() else "",
        "left_out": left_out,
    }


def _hash(table) -> str:
    """Return a hash of the nuclei in a table and their calls, under which the browser stores labels."""
    said = table[["image", "nucleus_id", "centroid_y_px", "centroid_x_px", "call"]]
    # An integer in one table may be a float in another.
    said = said.assign(nucleus_id=said["nucleus_id"].astype(float))
    return hashlib.sha256(said.to_csv(index=False).encode()).hexdigest()[:32]


def _page(about: dict, nuclei: list[dict]) -> str:
    """Return the page with data, style and script; its policy permits only this style and this script."""
    parts = (files("cellcycle.review") / f"sheet.{suffix}" for suffix in ("css", "js", "html"))
    style, script, page = (part.read_text(encoding="utf-8") for part in parts)
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_source(script)}'; style-src '{_source(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # Only "<" could end the script element early.
    data = json.dumps({"about": about, "nuclei": nuclei}, allow_nan=False).replace("<", "\\u003c")
    parts = {"POLICY": policy, "TITLE": html.escape(about["title"]), "STYLE": style, "SCRIPT": script, "DATA": data}
    return put_together(page, parts)


def put_together(page: str, parts: dict[str, str]) -> str:
    """Return a page with each `{{NAME}}` replaced, in one pass, because a part may itself contain such a mark."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], page)


def _source(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
