"""Texts from the evidence: tables of `docs/evidence.md` and README, figures, and scores in the cards of models."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files, results
from cellcycle.checkpoint import ANCHORED, DEFAULT, load_checkpoint, shipped_names, write_card
from cellcycle.phases import PHASES
from cellcycle.predict import AUTO
from cellcycle.predict.priors import PRIORS
from cellcycle.results import Record
from cellcycle.study.blocks import markdown_table, refresh
from cellcycle.study.evidence.board import FOREST, PRODUCTS, ROOT
from cellcycle.study.evidence.ladder import beside_the_product, ladder_table
from cellcycle.study.evidence.scores import FIELDS, rows_of, scores_of
from cellcycle.study.evidence.sources import MITOTIC, SOURCES

WAYS = {"each": "each by itself", "slide": "with the DNA of the slide", "together": "fields together"}
# The classical method, and a candidate.
BASELINE, CANDIDATE = PRODUCTS
_NAMES = {
    FOREST: "*forest*, given the labels",
    BASELINE: "*DNA histogram*, M by picture",
    CANDIDATE: "*DNA histogram* times picture",
}
# Marks in the names of scores: shares fitted to the histogram and shares by EdU get a row of their own.
_FITTED, _EDU = " fitted", "EdU+, "
# Table of each source beside the first table: rows (model, way) and columns (scores). Model cards have all scores.
_SHOWN = {
    "jurkat": (
        [(AUTO, "each"), (FOREST, "each"), ("nagao6-g1", "slide"), (ANCHORED, "slide"), (BASELINE, "slide"),
         (FOREST, "slide")],
        [*(f"recall {phase}" for phase in PHASES), "calibration error", "set holds the phase",
         "the same, of the phase held least"],
    ),
    "mitocheck": (
        [(model, "each") for model in (AUTO, "resnet8", "nn", "lr", FOREST)],
        [*(f"{kind.lower()} called M" for kind in (*MITOTIC, "Interphase")), "calibration error of M"],
    ),
    "rpe1": (
        [(AUTO, "each"), *((model, "together") for model in (AUTO, "nagao6-g1", "resnet8", BASELINE, FOREST))],
        ["no call", *(f"{phase}, {field}" for field in FIELDS for phase in ("S", "G1")), "calibration error of S"],
    ),
    "fields": ([], []),
}  # fmt: skip
# Headline scores of a source: its figure has one panel per score.
PANELS = {
    "jurkat": ("balanced accuracy", "AUC of M"),
    "mitocheck": ("AUC of M", "interphase called M"),
    "rpe1": ("AUC of S by EdU", "S, control", "S, knock-down"),
    "fields": ("called M", "fields with more than 10% M"),
}
# Results of `benchmarks/cultures.py` on simulated fields.
CULTURES = Path("data", "results", "cultures.csv")
# Results of `benchmarks/unusual.py` on simulated crops.
UNUSUAL = Path("data", "results", "unusual.csv")
# Prefix of the names of these scores in model cards.
CARD_KEY = "real: "
# Source, way and score of each column of the short table -> its heading.
_SHORT = {
    ("jurkat", "each", "balanced accuracy"): "Jurkat, picture",
    ("jurkat", "slide", "balanced accuracy"): "Jurkat, slide",
    ("mitocheck", "each", "AUC of M"): "HeLa, M",
    ("rpe1", "together", "AUC of S by EdU"): "RPE-1, S",
    ("fields", "each", "called M"): "fields, M",
    ("fields", "each", "no call"): "fields, no call",
}

# Aims set before any model was trained: model, source, way, score, at least ("≥") or at most ("≤"), and the limit.
AIMS = [
    (AUTO, "jurkat", "each", "balanced accuracy", "≥", 0.5),
    (ANCHORED, "jurkat", "slide", "balanced accuracy", "≥", 0.84),
    (AUTO, "mitocheck", "each", "AUC of M", "≥", 0.985),
    (AUTO, "mitocheck", "each", "anaphase called M", "≥", 0.85),
    (AUTO, "mitocheck", "each", "interphase called M", "≤", 0.04),
    (AUTO, "rpe1", "each", "AUC of S by EdU", "≥", 0.75),
    (AUTO, "rpe1", "together", "AUC of S by EdU", "≥", 0.75),
    (AUTO, "fields", "each", "fields with more than 10% M", "≤", 0.0),
    (AUTO, "jurkat", "each", "calibration error", "≤", 0.08),
    (ANCHORED, "jurkat", "slide", "calibration error", "≤", 0.08),
    (AUTO, "mitocheck", "each", "calibration error of M", "≤", 0.08),
    (AUTO, "rpe1", "each", "calibration error of S", "≤", 0.08),
    (AUTO, "rpe1", "together", "calibration error of S", "≤", 0.08),
    (AUTO, "jurkat", "each", "set holds the phase", "≥", 0.85),
    (ANCHORED, "jurkat", "slide", "set holds the phase", "≥", 0.85),
]


def records() -> list[Record]:
    """Return the committed records, sorted by source, way and model."""
    order = [AUTO, *shipped_names(), *PRODUCTS, FOREST]
    found = results.load_runs(files.repository() / ROOT)
    places = {name: k for k, name in enumerate(SOURCES)}
    return sorted(found, key=lambda r: (places[r.config["source"]], r.config["way"], order.index(r.config["model"])))


def refresh_evidence() -> None:
    """Write document, README, figures and cards from the committed records."""
    from cellcycle.plots import save_figures
    from cellcycle.plots.evidence import horseshoe, scores

    root, found = files.repository(), [(record, scores_of(record)) for record in records()]
    refresh(root / "docs" / "evidence.md", document_blocks(found))
    refresh(root / "README.md", {"EVIDENCE": markdown_table(short_table(found))})
    (nuclei,) = (rows_of(r) for r, _ in found if (*_place(r), r.config["model"]) == ("rpe1", "together", AUTO))
    nuclei["group"] = nuclei["group"].map({field: told for told, field in FIELDS.items()})
    drawn = {f"evidence_{name}": scores(drawn_rows(found, name), panels) for name, panels in PANELS.items()}
    save_figures(drawn | {"evidence_rpe1_edu": horseshoe(nuclei)}, root / "docs" / "images")
    for name in shipped_names():
        checkpoint = load_checkpoint(name)
        others = {k: v for k, v in checkpoint.card["scores"].items() if not k.startswith(CARD_KEY)}
        write_card(checkpoint.folder, checkpoint.card | {"scores": others | card_scores(found, name)})


def document_blocks(found: list[tuple[Record, dict]]) -> dict[str, str]:
    """Return the blocks of the document: scores of all models, per source, and on simulated cells."""
    slides = pd.read_csv(files.repository() / "data" / "results" / "g1_quality.csv")
    cultures, own = pd.read_csv(files.repository() / CULTURES), [record for record, _ in found]
    beside = textwrap.fill(beside_the_product(slides, own), 120)
    blocks = {
        "BOARD": markdown_table(board_table(found)),
        "LADDER": f"{markdown_table(ladder_table(slides, own))}\n\n{beside}",
        "AIMS": textwrap.fill(aims_told(found), 120),
        "PRIORS": markdown_table(priors_table(cultures)),
        "STILL": markdown_table(still_table(cultures)),
        "UNUSUAL": markdown_table(unusual_table(pd.read_csv(files.repository() / UNUSUAL))),
    }
    return blocks | {name.upper(): source_block(found, name) for name in SOURCES}


def board_table(found: list[tuple[Record, dict]]) -> pd.DataFrame:
    """Return the headline scores of every model, and the kinds of real cells that it learned from."""
    models = [AUTO, *shipped_names(), BASELINE, FOREST]
    table = short_table(found, models).rename(index=lambda name: _NAMES.get(name, f"`{name}`"))
    table.insert(0, "real cells it learned from", [_learned_from(model) for model in models])
    return table


def _learned_from(model: str) -> str:
    """Return the kinds of real cells that a model learned from; for `auto` and the baseline those of the default."""
    if model == FOREST:
        return "each kind"
    told = load_checkpoint(model if model in shipped_names() else DEFAULT).card["trained_on"]["description"]
    return ", ".join(kind for kind in ("Jurkat", "HeLa") if kind in told) or "none"


def source_block(found: list[tuple[Record, dict]], name: str) -> str:
    """Return the text on a source: its cells, labels and separation from training, its table and its figure."""
    source, (shown, columns) = SOURCES[name], _SHOWN[name]
    by = {(r.config["model"], _place(r)[1]): (r, scores) for r, scores in found if _place(r)[0] == name}
    first, n = by[AUTO, source.ways[0]][0], max(len(record.predictions) for record, _ in by.values())
    numbers = f" ({numbers})" if (numbers := _numbers_of(first)) else ""
    left = f" ({k} left out)" if (k := first.run["n_learned"]) else ""
    told = [
        f"*Cells:* {source.title}; {n} nuclei of {first.run['n_images']} images; {source.licence}.",
        f"*Label:* {source.label}{numbers}.",
        f"*Kept apart:* {source.apart}{left}.",
    ]
    all_scores = {score: str(value) for _, scores in by.values() for score, value in scores.items()}
    rows = {"*EdU*": {s.replace(_EDU, "S, "): value for s, value in all_scores.items() if _EDU in s}}
    for model, way in shown:
        rows[_title(name, model, way)] = {
            score: str(v) for score, v in by[model, way][1].items() if np.isfinite(v.value)
        }
    rows["*shares fitted* to the histogram"] = {
        s.replace(_FITTED, ""): value for s, value in all_scores.items() if _FITTED in s
    }
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).dropna(how="all").fillna("")
    made = ["  \n".join(told), *([markdown_table(table.rename_axis("model"))] if len(table) else [])]
    alt = f"{source.title.split(',')[0]}, a line a model, with 95 % intervals: {'; '.join(PANELS[name])}"
    return "\n\n".join([*made, f"![{alt}](images/evidence_{name}.png)"])


def drawn_rows(found: list[tuple[Record, dict]], name: str) -> dict[str, dict]:
    """Return the scores of a source for its figure, by model and way; a way that changes none of them is left out."""
    rows, known = {}, set()
    for record, scores in found:
        (source, way), model = _place(record), record.config["model"]
        shown = {score: scores[score] for score in PANELS[name] if score in scores}
        if source == name and shown and (key := (model, str(shown))) not in known:
            known.add(key)
            rows[_title(name, model, way).replace("`", "").replace("*", "")] = scores
    return rows


def _title(source: str, model: str, way: str) -> str:
    shown = _NAMES.get(model, f"`{model}`")
    return f"{shown}, {WAYS[way]}" if len(SOURCES[source].ways) > 1 else shown


def _numbers_of(record: Record) -> str:
    """Return the number of cells per label as text; for the fields in `FIELDS` per field."""
    table, fields = record.predictions, {field: told for told, field in FIELDS.items()}
    of = table["truth"].mask(table["group"].isin(fields), table["truth"] + ", " + table["group"].map(fields))
    counts = of[table["truth"] != ""].value_counts().sort_index()
    return "; ".join(f"{label} {n}" for label, n in counts.items())


def _candidates() -> pd.DataFrame:
    """Return the table of all models that were trained and scored before one of each name was shipped."""
    return pd.read_csv(files.repository() / ROOT / "candidates.csv", dtype=str, keep_default_na=False)


def missed_aims(found: list[tuple[Record, dict]]) -> list[str]:
    """Return the missed aims as text, each with the score reached; the value counts, not its interval."""
    scores_at, missed = {(r.config["model"], *_place(r)): scores for r, scores in found}, []
    for model, source, way, score, sign, aim in AIMS:
        reached = scores_at[model, source, way][score]
        if not (reached.value >= aim if sign == "≥" else reached.value <= aim):
            place = f"{SOURCES[source].title.split()[0]}, {WAYS[way]}"
            missed.append(f"{score} of `{model}` ({place}) {sign} {aim:g}: {reached}")
    return missed


def aims_told(found: list[tuple[Record, dict]]) -> str:
    """Return sentences: how many aims are met, which are missed, and from how many models the shipped were chosen."""
    missed = missed_aims(found)
    return (
        f"Before training, {len(AIMS)} aims were set for these scores; {len(AIMS) - len(missed)} are met by the value, "
        f"whatever its interval. Missed: {'; '.join(missed) or 'none'}. The models that ship were chosen among "
        f"{len(_candidates())} trained ones in view of these scores, which may therefore flatter them."
    )


def priors_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per prior: errors of shares in growing cultures and shares in RPE-1, from table `CULTURES`."""
    growing = rows[rows["culture"] == "growing"]
    off = pd.concat([100 * (growing[f"called_{p}"] - growing[f"true_{p}"]).rename(p) for p in PHASES], axis=1)
    size, sign = (part.groupby(growing["prior"]).mean() for part in (off.abs(), off))
    table = (size.map("{:.1f}".format) + sign.map(" ({:+.1f})".format)).rename(columns="{}, points off".format)
    table["called right"] = growing.groupby("prior")["right"].mean().map("{:.3f}".format)
    for name, own in rows[rows["culture"].str.startswith("RPE-1")].groupby("culture"):
        edu = own["true_S"].iloc[0]
        table[f"S, {name} (EdU {edu:.2f})"] = own.set_index("prior")["called_S"].map("{:.2f}".format)
    return table.reindex(PRIORS)


def still_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return fractions right, wrong and without a call, per kind of culture (arrested, growing), from `CULTURES`."""
    parts = rows[(rows["prior"] == "culture") & rows["scale_known"].notna()].groupby("culture", sort=False)
    table = parts[["no_call", "right", "wrong"]].mean().map("{:.2f}".format)
    return table.assign(fields=parts["number"].nunique().astype(str)).rename(columns={"no_call": "no call"})


def unusual_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of crops of each unusual kind, from table `UNUSUAL`."""
    names = {"no_call": "no call", "balanced_accuracy": "balanced accuracy", "m_called_m": "M called M"}
    table = rows.set_index("kind").rename(columns=names | {"others_called_m": "others called M"})
    return table.assign(nuclei=table["nuclei"].astype(int).astype(str))


def short_table(found: list[tuple[Record, dict]], models=(AUTO, ANCHORED, FOREST)) -> pd.DataFrame:
    """Return the headline scores (`_SHORT`) of some models; the default is the selection of README."""
    rows: dict = {model: {} for model in models}
    for record, scores in found:
        # A row in README has at most 120 characters; model cards have this interval, too.
        short = {score: f"{e.value:.2f}" if score == "no call" else str(e) for score, e in scores.items()}
        told = {_SHORT.get((*_place(record), score)): value for score, value in short.items()}
        rows.get(record.config["model"], {}).update(told)
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(_SHORT.values()))
    return table.rename_axis("model").fillna("")


def card_scores(found: list[tuple[Record, dict]], model: str) -> dict[str, dict]:
    """Return the entries for a model's card: one per source and way, with the scores of the forest if it has any."""
    n_tried = int((_candidates()["model"] == model).sum())
    made, given = {}, {_place(record): scores for record, scores in found if record.config["model"] == FOREST}
    for record, scores in found:
        if record.config["model"] == model:
            source = SOURCES[record.config["source"]]
            entry = {"source": source.title, "label": source.label, "kept_apart": source.apart}
            entry |= {"record": record.folder.name, "n": len(record.predictions)} | _numbers(scores)
            if n_tried:
                entry["candidates"] = n_tried
            if beside := _numbers(given.get(_place(record), {})):
                entry["forest_given_the_labels"] = beside
            made[f"{CARD_KEY}{record.config['source']}, {WAYS[record.config['way']]}"] = entry
    return made


def _place(record: Record) -> tuple[str, str]:
    return record.config["source"], record.config["way"]


def _numbers(scores: dict) -> dict[str, dict]:
    """Return the scores whose value and interval are finite, rounded to four decimals."""
    finite = {name: vars(found) for name, found in scores.items() if all(map(np.isfinite, vars(found).values()))}
    return {name: {key: round(number, 4) for key, number in of.items()} for name, of in finite.items()}
