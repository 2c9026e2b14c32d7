"""The tables of the data card, computed from the simulator and from records of real cells."""

import pandas as pd

from cellcycle import files, results, summaries
from cellcycle.phases import PHASES
from cellcycle.study import experiments, texts

MITOSES = ("prometaphase", "metaphase", "anaphase")
SEEN = {
    "DNA, area, contrast": {},
    "the same, stain of the slide known": {"slide_known": True},
    "DNA and area": {"sees": ("integrated_dna", "area_um2")},
    "DNA alone": {"sees": ("integrated_dna",)},
}


def refresh_card() -> None:
    """Write the computed blocks of the data card."""
    texts.refresh(files.repository() / "data" / "README.md", card_blocks())


def card_blocks() -> dict[str, str]:
    """Return every computed block of the data card."""
    return {**validation_blocks(), "CEILING": ceiling_block(), "TRANSFER": transfer_block()}


def validation_blocks() -> dict[str, str]:
    """Return the data card's tables of simulated beside real nuclei: VALIDATION and MITOSIS."""
    from cellcycle.datasets import make_simulated
    from cellcycle.simulation import validation

    compared = validation.compare(make_simulated("validation", validation.COUNTS))
    headline = validation.headline(compared).T[["simulated", "jurkat", "rpe1"]].rename_axis("quantity")
    median = compared.set_index(["source", "phase", "quantity"])["p50"]
    rows = {
        f"{quantity}, {phase}": {s: median[(s, phase, quantity)] for s in ("simulated", "mitocheck")}
        for phase in MITOSES
        for quantity in ("eccentricity", "solidity", "texture")
    }
    mitosis = pd.DataFrame.from_dict(rows, orient="index").rename_axis("mitosis by shape")
    return {"VALIDATION": texts.markdown_table(headline), "MITOSIS": texts.markdown_table(mitosis)}


def ceiling_block() -> str:
    """Return the data card's table of the ceiling, by what the best classifier sees."""
    from cellcycle.simulation import ceiling

    rows = {}
    for name, options in SEEN.items():
        found = ceiling(**options)
        rows[name] = {"accuracy": found.accuracy, "balanced accuracy": found.balanced_accuracy}
        rows[name] |= {"macro F1": found.macro_f1, **{f"recall {phase}": found.recall[phase] for phase in PHASES}}
    return texts.markdown_table(pd.DataFrame.from_dict(rows, orient="index").rename_axis("sees"))


def transfer_block() -> str:
    """Return the table of the experiment between simulated and real cells, computed from its records."""
    rows = []
    for record in results.load_runs(files.repository() / "data" / "results" / "simulated_to_real"):
        config, scores = record.config, ["accuracy", "balanced_accuracy"]
        n_labels = config.get("n_labels", 0)
        few = f"{'simulated, then ' if config.get('pretrain') else ''}{n_labels} real a phase"
        trained = few if n_labels else config["train_name"]
        row = {"trained on": trained, "tested on": record.data["name"], "model": config["model"]}
        row |= {"intensities": experiments.intensities_of(config), "n": n_labels, "origin": record.data["origin"]}
        table = summaries.score_table([record], as_trained=True)
        row |= summaries.with_intervals(table, scores).iloc[0].to_dict()
        rows.append(row | {phase: table[f"recall_{phase}"].iloc[0] for phase in PHASES})
    order = ["n", "origin", "trained on", "model", "tested on", "intensities"]
    table = pd.DataFrame(rows).sort_values(order).set_index("trained on").rename(columns={PHASES[0]: "recall G1"})
    return texts.markdown_table(table.drop(columns=["n", "origin"]))
