"""Shares of phases per condition and well, with intervals, and their differences to a control."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from cellcycle.datasets.spelling import clean
from cellcycle.errors import DataError, SettingError
from cellcycle.images.wells import well_name
from cellcycle.names import from_cell
from cellcycle.predict.platemap import DOSE_REMEDY
from cellcycle.predict.priors import MANY_MITOSES, MITOSES, ONE_PEAK
from cellcycle.report.intervals import Samples, scatter_of, scatter_within
from cellcycle.report.joined import check_pictures, read_joined
from cellcycle.report.parts import named
from cellcycle.report.shares import BY_DNA, FITTED, samples_of, with_likelihoods
from cellcycle.review.doubt import classes_of

# Nuclei with these flags count as found, but not in shares: their DNA is cut off, doubled or blurred, or all nuclei of
# their field are in one phase that cannot be identified.
LEFT_OUT = ("edge", "clump", "debris", "out_of_focus", ONE_PEAK)
# Name of the condition of rows without one, if other rows have one.
NO_CONDITION = "no condition"


@dataclass(frozen=True, eq=False)
class Experiment:
    """The nuclei of an experiment, in the columns of a prediction table.

    `table` holds all rows, with `arm` (condition and dose, else well, else image), `place` (plate, else group read
    together, else slide), `unit` (well, else image), its `unit_name` and `image_name` on the page, `is_bare` (without a
    condition, while others have one), `is_nucleus`, `is_counted`, `l_<class>` (probabilities without the prior of the
    calls), `f_<phase>` (`with_likelihoods`). `arms` are sorted by condition and dose, the `control` ("": none) first.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    arms: list[str]
    control: str

    @cached_property
    def nuclei(self) -> pd.DataFrame:
        """The rows that count in shares."""
        return self.table[self.table["is_counted"]]

    @property
    def is_control(self) -> pd.Series:
        """Which rows belong to the control: an arm, or all doses of a condition; none if there is no control."""
        is_arm = self.table["arm"] == self.control
        return is_arm if is_arm.any() or not self.control else self.table["condition"] == self.control

    def of_arm(self, arm: str) -> pd.DataFrame:
        """Return all rows of an arm."""
        return self.table.iloc[self._rows_of[arm]]

    @cached_property
    def _rows_of(self) -> dict[str, np.ndarray]:
        # Computed once: with one arm per well, a search through the table for each takes long.
        return self.table.groupby("arm").indices


def read_experiment(paths, control: str | None = None) -> Experiment:
    """Read prediction tables (one path, or a list of paths, of the same models) as one experiment.

    `control` names what the rows are compared by: a condition, one dose of it, a well or an image. Raises `DataError`
    or `SettingError` if tables are of several models, versions or priors, if an image occurs twice, or under two
    conditions, or if there is no such control, or nothing to compare with it.
    """
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    table = read_joined(paths)
    # Computed doses of the same amount may differ in their last digits.
    table["dose"] = [float(f"{dose:.12g}") for dose in table.get("dose", [np.nan] * len(table))]
    if (bad := table["dose"][(table["dose"] < 0) | np.isinf(table["dose"])]).size:
        raise DataError(", ".join(map(str, paths)), f"the dose {bad.iloc[0]:g} is not an amount", DOSE_REMEDY)
    check_pictures(paths, table)
    table["is_nucleus"] = table["nucleus_id"].notna()
    # Mitoses beyond the number in a growing culture have no call, but their probabilities count.
    is_open = table["review"].str.contains(MANY_MITOSES)
    table["is_counted"] = table["is_nucleus"] & ((table["call"] != "") | is_open) & ~table["flags"].map(is_spoilt)
    table = with_likelihoods(without_prior(table))
    well = (table["plate"] + " " + table["well"]).str.strip() if len(set(table["plate"])) > 1 else table["well"]
    place = table["plate"].where(table["plate"] != "", table["group"])
    # Plates in one group, which are read together, count as one place.
    is_one = (table["group"] != "") & (table.groupby("group")["plate"].transform("nunique") > 1)
    place = place.mask(is_one, table["group"])
    # The group is "" if images are read by themselves.
    table["place"] = place.where(place != "", table["slide"].map(clean) if "slide" in table else "")
    table["unit"] = well.where(table["well"] != "", table["image"])
    table["image_name"] = _short(table["image"].map(lambda image: Path(image).name), table["image"])
    table["unit_name"] = _short(table["unit"].where(table["well"] != "", table["image_name"]), table["unit"])
    if (table["condition"] == "").all() and len(table["dose"].unique()) > 1:
        # A map of one drug may name its doses alone.
        table["condition"] = "dose"
    table["is_bare"] = (table["condition"] == "") & (table["condition"] != "").any()
    if table["is_bare"].any() and (table["condition"] == NO_CONDITION).any():
        finding = f"a condition is called {NO_CONDITION!r}, but other rows have none"
        raise DataError(", ".join(map(str, paths)), finding, "give all rows a condition, or rename this one")
    table["condition"] = table["condition"].mask(table["is_bare"], NO_CONDITION)
    table["arm"] = _arms(table)
    # A well with several conditions, e.g. two time points, counts as one well of each.
    is_mixed = table.groupby("unit")["arm"].transform("nunique") > 1
    for name in ("unit", "unit_name"):
        table[name] = table[name].mask(is_mixed, table[name] + " (" + table["arm"] + ")")
    control = _control(table, control) if control else ""
    arms = {arm: (control not in (arm, condition), natural(condition), dose if dose > 0 else 0.0, natural(arm))
            for arm, condition, dose in table[["arm", "condition", "dose"]].itertuples(index=False)}  # fmt: skip
    return Experiment(table, classes_of(table), sorted(arms, key=arms.get), control)


def is_spoilt(flags: str) -> bool:
    """Return whether a nucleus with these flags (joined by ";") is left out of shares."""
    return not set(LEFT_OUT).isdisjoint(flags.split(";"))


def without_prior(table) -> pd.DataFrame:
    """Return the table with `l_<class>`, probabilities under equal shares; DataError if `prior` does not fit them."""
    classes = classes_of(table)
    try:
        told = [text.split(" ")[1:] or [1] * len(classes) for text in table["prior"]]
        weights = np.array(told, float).reshape(len(table), len(classes))
    except ValueError as error:
        raise DataError("prior", f"this column is not as it was written ({error})", "predict again") from error
    # Weights are in the order of the columns; only M always has the same weight, which shows a changed order.
    is_told = table["prior"].str.contains(" ").to_numpy()
    if "M" in classes and (weights[is_told, classes.index("M")] != MITOSES).any():
        finding = f"its weights are not those of {', '.join(classes)}: the columns p_... are in another order"
        raise DataError("prior", finding, "put them back as they were written, or predict again")
    likely = table[[f"p_{name}" for name in classes]].to_numpy(dtype=float) / weights
    likely /= likely.sum(axis=1, keepdims=True)
    return table.assign(**{f"l_{name}": likely[:, k] for k, name in enumerate(classes)})


def _short(names: pd.Series, wholes: pd.Series) -> pd.Series:
    """Return the short name of each row, e.g. of an image without its folder, or the whole name if it is ambiguous."""
    return names.where(wholes.groupby(names).transform("nunique") == 1, wholes)


def _arms(table) -> pd.Series:
    """Return the arm of each row: condition and dose, else well, else image."""
    if (table["condition"] == "").all():
        return table["unit_name"]
    # A missing dose counts as a level of its own if the condition also has doses.
    doses = table.groupby("condition")["dose"].agg(lambda own: own.nunique(dropna=not (own > 0).any()))
    several = table["condition"].map(doses > 1) | (table["dose"] > 0)
    arms = table["condition"].where(~several, table["condition"] + table["dose"].map(_dosed))
    conditions = table.groupby(arms)["condition"].unique()
    for arm, of in conditions[conditions.map(len) > 1].items():
        finding = f"{arm!r} is a condition, and also a dose of {min(of, key=len)!r}"
        raise DataError("condition", finding, "rename one of them")
    return arms


def _dosed(dose: float) -> str:
    """Return the end of an arm's name: the dose, with as few digits as make it unique.

    Examples
    --------
    >>> _dosed(0.1), _dosed(1e6), _dosed(1000001.0), _dosed(float("nan"))
    (' 0.1', ' 1e+06', ' 1000001.0', ', no dose')
    """
    if np.isnan(dose):
        return ", no dose"
    return f" {dose:g}" if float(f"{dose:g}") == dose else f" {dose!r}"


def _control(table, control: str) -> str:
    known = dict.fromkeys([*table["condition"], *table["arm"]])
    names = {clean(name).casefold(): name for name in known if name}
    # Accept the name as in a table's cell, a well as in a map ("a1"), and a dose with ".0".
    key = clean(from_cell(control)).casefold()
    as_well, as_dose = well_name(key).casefold(), re.sub(r"(?<=\d)\.0+$", "", key)
    key = next((name for name in (key, as_well, as_dose) if name in names), None)
    if key is None:
        what = next((what for what in ("condition", "well") if (table[what] != "").any()), "image")
        remedy = f"use one of {named([*names.values()])}"
        raise SettingError("control", f"there is no {what} {control!r}", remedy)
    doses = table[table["condition"] == names[key]].sort_values("dose")["arm"].unique()
    if len(doses) > 1 and (table["condition"] == names[key]).all():
        finding = f"all rows are of {names[key]!r}, so that nothing is left to compare"
        raise SettingError("control", finding, f"name one dose of it: {', '.join(doses)}")
    return names[key]


def natural(text: str) -> list:
    """Return a sort key that orders numbers inside names by value: 2 before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]


def all_numbers(experiment: Experiment, n_samples: int = 500) -> pd.DataFrame:
    """Return every number of the report, one per row, with the arm or well, its interval, and the numbers of nuclei.

    Columns: table, arm, condition, dose, plate, well, unit, quantity, value, low, high, freedom, p, n_nuclei, n_fields,
    n_wells; and for differences p_holm, which is p corrected for the number of differences in its table.
    """
    rows, samples, nuclei = [], {}, experiment.nuclei
    for number, arm in enumerate(experiment.arms):
        own = experiment.of_arm(arm)
        if own["is_counted"].any():
            samples[arm] = samples_of(own[own["is_counted"]], experiment.classes, number, n_samples)
    drawn = list(samples.values()) if n_samples else []
    scatter = scatter_of(drawn)
    # If each well is an arm of its own, it is no sample of wells: only the scatter of images counts.
    of_arms = scatter if (experiment.table["condition"] != "").any() else scatter_of(drawn, ("image",))
    for arm in experiment.arms:
        about = _about(experiment.of_arm(arm))
        rows += _counts("counts", about, experiment.of_arm(arm))
        for how in samples[arm].value if arm in samples else ():
            rows += _shares(how, about, experiment, samples[arm], how, None, of_arms)
    rows += _differences(experiment, samples, scatter_within(drawn, scatter), n_samples)
    wells = {
        unit: samples_of(own, experiment.classes, 0, n_samples, ("counted",))
        for unit, own in nuclei.groupby("unit", sort=False)
    }
    of_wells = scatter_of(list(wells.values()) if n_samples else [], ("image",))
    for unit, everything in experiment.table.groupby("unit", sort=False):
        about = _about(everything) | {"unit": unit}
        rows += _counts("wells", about, everything)
        if unit in wells:
            rows += _shares("wells", about, experiment, wells[unit], "counted", None, of_wells)
    return pd.DataFrame(rows)


def _about(rows: pd.DataFrame) -> dict:
    first, own = rows.iloc[0], rows[rows["is_counted"]]
    place = {name: first[name] if len(set(rows[name])) == 1 else "" for name in ("plate", "well")}
    counts = {"n_nuclei": len(own), "n_fields": own["image"].nunique(), "n_wells": own["unit"].nunique()}
    return {"arm": first["arm"], "condition": first["condition"], "dose": first["dose"]} | place | counts


def _shares(table: str, about: dict, experiment: Experiment, own: Samples, how: str, *more) -> list[dict]:
    """Return rows of a table: shares of an arm or well, or differences; `more` are arguments of `Samples.interval`."""
    names = BY_DNA if how == FITTED else experiment.classes
    about = {"table": table} | about | {"n_nuclei": own.n[how]}
    found = zip(names, own.interval(how, *more), strict=True)
    return [about | {"quantity": name, "p": one.by_chance()} | vars(one) for name, one in found]


def _differences(experiment: Experiment, samples: dict[str, Samples], scatter: dict, n_samples: int) -> list[dict]:
    """Return the differences of each arm to the control, which may be several doses of one condition."""
    if not experiment.control:
        return []
    table, is_control = experiment.table, experiment.is_control
    control = table[is_control & table["is_counted"]]
    if not len(control):
        remedy = "name another control" if len(experiment.nuclei) else "no condition has any: check calls and flags"
        raise DataError(experiment.control, "the control has no nucleus that can be counted", remedy)
    against, rows = samples_of(control, experiment.classes, len(experiment.arms), n_samples), []
    controls = set(table.loc[is_control, "arm"])
    for arm in (arm for arm in experiment.arms if arm in samples and arm not in controls):
        about = _about(experiment.of_arm(arm))
        for how in against.value:
            rows += _shares(f"{how}, minus control", about, experiment, samples[arm], how, against, scatter)
    found = pd.DataFrame(rows)
    return found.assign(p_holm=found.groupby("table")["p"].transform(_holm)).to_dict("records") if rows else []


def _holm(p: pd.Series) -> pd.Series:
    """Return p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    ranked = p.sort_values()
    return (ranked * (p.count() - np.arange(len(p))).clip(1)).cummax().clip(upper=1).reindex(p.index)


def _counts(table: str, about: dict, rows: pd.DataFrame) -> list[dict]:
    """Return rows of a table: numbers of nuclei found, counted and left out by reason, and quality of the pictures."""
    nuclei = rows[rows["is_nucleus"]]
    flags = nuclei["flags"].str.split(";")
    is_called = nuclei["call"] != ""
    found = {"found": len(nuclei), "counted": (nuclei["is_counted"] & is_called).sum()}
    found["estimated alone"] = (nuclei["is_counted"] & ~is_called).sum()
    found |= {f"flag {name}": sum(name in own for own in flags) for name in LEFT_OUT}
    found["without a call"] = (~is_called).sum()
    found["to look at again"] = (nuclei["review"] != "").sum()
    found["fields not read"] = (rows["flags"] == "unreadable").sum()
    if len(nuclei):
        found["width of the rim, px"] = nuclei["edge_width_px"].median()
        is_g1 = nuclei["is_counted"] & (nuclei["call"] == "G1")
        found["copies of DNA in G1"] = nuclei.loc[is_g1, "dna_copies"].median()
    return [{"table": table} | about | {"quantity": name, "value": float(value)} for name, value in found.items()]
