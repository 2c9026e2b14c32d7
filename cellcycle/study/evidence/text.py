"""The board for readers: tables of `docs/evidence.md` and README, figures, and what the cards of models hold."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle import files, results
from cellcycle.checkpoint import ANCHORED, load_checkpoint, shipped_names, write_card
from cellcycle.phases import PHASES
from cellcycle.predict import AUTO
from cellcycle.predict.priors import PRIORS
from cellcycle.results import Record
from cellcycle.study.blocks import markdown_table, refresh
from cellcycle.study.evidence.board import FOREST, PRODUCTS, ROOT
from cellcycle.study.evidence.ladder import beside_the_product, ladder_table
from cellcycle.study.evidence.product import by_quality
from cellcycle.study.evidence.scores import FIELDS, LEAST_NUCLEI, large_fields, rows_of, scores_of
from cellcycle.study.evidence.sources import SOURCES

WAYS = {"each": "each by itself", "slide": "with the DNA of the slide", "together": "fields together"}
_NAMES = {
    FOREST: "*forest*, given the labels",
    "product_M": "*DNA histogram, M by picture*",
    "product_all": "*DNA histogram times picture*",
}
# Shares that are fitted to the histogram have a row of their own.
_FITTED, _HISTOGRAM = " fitted", "*DNA histogram*, shares fitted to it, fields together"
# What `benchmarks/cultures.py` measures on simulated fields.
CULTURES = Path("data", "results", "cultures.csv")
# What `benchmarks/unusual.py` measures on simulated crops.
UNUSUAL = Path("data", "results", "unusual.csv")
# How the entries of cards begin.
CARD_KEY = "real: "
# Source, way and score of each column of the short table -> the heading of it.
_SHORT = {
    ("jurkat", "each", "balanced accuracy"): "Jurkat, picture",
    ("jurkat", "slide", "balanced accuracy"): "Jurkat, slide",
    ("mitocheck", "each", "AUC of M"): "HeLa, M",
    ("rpe1", "together", "AUC of S by EdU"): "RPE-1, S",
    ("fields", "each", "called M"): "fields, M",
    ("fields", "each", "no call"): "fields, no call",
}

# What was aimed at before any model was trained: model, source, way and score; at least ("≥") or at most, and how much.
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
    """Return the committed records, by source, model and way."""
    order = [AUTO, *shipped_names(), *PRODUCTS, FOREST]
    found = results.load_runs(files.repository() / ROOT)
    places = {name: k for k, name in enumerate(SOURCES)}
    return sorted(found, key=lambda r: (places[r.config["source"]], r.config["way"], order.index(r.config["model"])))


def refresh_evidence() -> None:
    """Write document, README, figures and cards from the committed records."""
    from cellcycle.plots import save_figures
    from cellcycle.plots.evidence import PANELS, horseshoe, scores

    root, found = files.repository(), [(record, scores_of(record)) for record in records()]
    refresh(root / "docs" / "evidence.md", document_blocks(found))
    refresh(root / "README.md", {"EVIDENCE": markdown_table(short_table(found))})
    drawn = {}
    for name, (own, _) in _by_source(found).items():
        rows = {_name(r).replace("`", "").replace("*", ""): s for r, s in own}
        drawn[f"evidence_{name}"] = scores(rows, PANELS[name])
        for record, _ in own:
            if (name, record.config["model"], record.config["way"]) == ("rpe1", AUTO, "together"):
                drawn["evidence_rpe1_edu"] = horseshoe(rows_of(record))
    save_figures(drawn, root / "docs" / "images")
    for name in shipped_names():
        checkpoint = load_checkpoint(name)
        others = {k: v for k, v in checkpoint.card["scores"].items() if not k.startswith(CARD_KEY)}
        write_card(checkpoint.folder, checkpoint.card | {"scores": others | card_scores(found, name)})


def document_blocks(found: list[tuple[Record, dict]]) -> dict[str, str]:
    """Return a block a source: what the cells and labels are, what kept them apart, and all scores."""
    tried = _candidates()
    slides = pd.read_csv(files.repository() / "data" / "results" / "g1_quality.csv")
    said = f"{len(tried)} models were trained and scored so.\n\n{markdown_table(tried.set_index('model'))}"
    blocks = {"CANDIDATES": said, "QUALITY": markdown_table(by_quality(slides))}
    own = [record for record, _ in found]
    blocks["LADDER"] = f"{markdown_table(ladder_table(slides, own))}\n\n{textwrap.fill(beside_the_product(own), 120)}"
    cultures = pd.read_csv(files.repository() / CULTURES)
    blocks |= {"PRIORS": markdown_table(priors_table(cultures)), "STILL": markdown_table(still_table(cultures))}
    blocks["UNUSUAL"] = markdown_table(unusual_table(pd.read_csv(files.repository() / UNUSUAL)))
    blocks["AIMS"] = markdown_table(aims_table(found))
    for name, (own, repeating) in _by_source(found).items():
        source, facts = SOURCES[name], own[0][0].run
        n = max(len(record.predictions) for record, _ in own)
        left = f" ({k} left out)" if (k := facts["n_learned"]) else ""
        told = [
            f"*Cells:* {source.title}; {n} nuclei of {facts['n_images']} images; {source.licence}.",
            f"*Label:* {source.label}.",
            f"*Kept apart:* {source.apart}{left}.",
        ]
        if numbers := _numbers_of(own[0][0]):
            told.insert(2, f"*Of each label:* {numbers}.")
        if name == "fields":
            n_large = len(large_fields(own[0][0].predictions))
            told.append(f"*Last column:* of the {n_large} fields with {LEAST_NUCLEI} nuclei or more.")
        if repeating:
            told.append(f"*Left out:* {'; '.join(map(_name, repeating))}: the same answers as each by itself.")
        rows = {}
        for record, scores in own:
            row = {"nuclei": str(len(record.predictions))}
            shown = {score: str(value) for score, value in scores.items() if np.isfinite(value.value)}
            fitted = {score: shown.pop(score) for score in [*shown] if _FITTED in score}
            rows[_name(record)] = row | shown
            if fitted:
                rows[_HISTOGRAM] = row | {score.replace(_FITTED, ""): value for score, value in fitted.items()}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model").fillna("")
        figure = f"![{source.title}](images/evidence_{name}.png)"
        blocks[name.upper()] = "\n\n".join(["  \n".join(told), markdown_table(table), figure])
    return blocks


def _numbers_of(record: Record) -> str:
    """Return how many cells have each label, field by field where scores tell of single ones."""
    table, fields = record.predictions, {field: told for told, field in FIELDS.items()}
    of = table["truth"].mask(table["group"].isin(fields), table["truth"] + ", " + table["group"].map(fields))
    counts = of[table["truth"] != ""].value_counts().sort_index()
    return "; ".join(f"{label} {n}" for label, n in counts.items())


def _candidates() -> pd.DataFrame:
    """Return what was trained and scored before one of each name was shipped, as text."""
    return pd.read_csv(files.repository() / ROOT / "candidates.csv", dtype=str, keep_default_na=False)


def aims_table(found: list[tuple[Record, dict]]) -> pd.DataFrame:
    """Return what was aimed at and what was reached; beside it what a forest came to that was given labels."""
    scores_at = {tuple(record.config[k] for k in ("model", "source", "way")): scores for record, scores in found}
    rows = []
    for model, source, way, score, sign, aim in AIMS:
        if (model, source, way) not in scores_at:
            continue
        reached, given = scores_at[model, source, way][score], scores_at.get((FOREST, source, way), {}).get(score)
        is_met = reached.value >= aim if sign == "≥" else reached.value <= aim
        name = f"{SOURCES[source].title.split()[0]}, {WAYS[way]}: {score}"
        shown = {"model": f"`{model}`", "aimed at": f"{sign} {aim:g}", "reached": f"{reached:.3f}"}
        shown |= {"met": "yes" if is_met else "no", _NAMES[FOREST]: f"{given:.3f}" if given else ""}
        rows.append({"score": name} | shown)
    return pd.DataFrame(rows, columns=[*rows[0]] if rows else ["score"]).set_index("score")


def priors_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what each prior comes to in growing cultures and in the RPE-1 fields, from the rows of `CULTURES`."""
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
    """Return what is called in cultures that stand still, beside growing ones, from the rows of `CULTURES`."""
    own = rows[(rows["prior"] == "culture") & rows["scale_known"].notna()]
    own = own.assign(scale=np.where(own["scale_known"].astype(bool), "known", "not known"))
    parts = own.groupby(["culture", "scale"], sort=False)
    table = parts[["no_call", "right", "wrong"]].mean().map("{:.2f}".format)
    return table.assign(fields=parts.size().astype(str)).rename(columns={"no_call": "no call"}).reset_index("scale")


def unusual_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what becomes of crops of each kind, from the rows of `UNUSUAL`."""
    names = {"no_call": "no call", "balanced_accuracy": "balanced accuracy", "m_called_m": "M called M"}
    table = rows.set_index("kind").rename(columns=names | {"others_called_m": "others called M"})
    return table.assign(nuclei=table["nuclei"].astype(int).astype(str))


def _by_source(found) -> dict[str, tuple[list[tuple[Record, dict]], list[Record]]]:
    """Return the records of each source, and aside those of a way in which nothing is answered otherwise."""
    made, alone = {}, {}
    for record, scores in found:
        (source, way), model = _place(record), record.config["model"]
        answers = record.predictions.filter(["call", *(f"p_{phase}" for phase in PHASES)])
        own, repeating = made.setdefault(source, ([], []))
        if way != "each" and answers.equals(alone.get((source, model))):
            repeating.append(record)
        else:
            own.append((record, scores))
            alone |= {(source, model): answers} if way == "each" else {}
    return made


def _name(record: Record) -> str:
    (source, way), model = _place(record), record.config["model"]
    shown = _NAMES.get(model, f"`{model}`")
    return f"{shown}, {WAYS[way]}" if len(SOURCES[source].ways) > 1 else shown


def short_table(found: list[tuple[Record, dict]]) -> pd.DataFrame:
    """Return what `auto`, the model that reads DNA, and the forest come to, by one score a source: the README's."""
    rows: dict = {AUTO: {}, ANCHORED: {}, FOREST: {}}
    for record, scores in found:
        # A row has 120 letters; the document has this interval, too.
        short = {score: f"{e.value:.2f}" if score == "no call" else str(e) for score, e in scores.items()}
        told = {_SHORT.get((*_place(record), score)): value for score, value in short.items()}
        rows.get(record.config["model"], {}).update(told)
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(_SHORT.values()))
    return table.rename_axis("model").fillna("")


def card_scores(found: list[tuple[Record, dict]], model: str) -> dict[str, dict]:
    """Return what the card of a model holds: one entry a source and way, with its yardstick where there is one."""
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
    """Return finite scores with their intervals, rounded."""
    finite = {name: vars(found) for name, found in scores.items() if all(map(np.isfinite, vars(found).values()))}
    return {name: {key: round(number, 4) for key, number in of.items()} for name, of in finite.items()}
