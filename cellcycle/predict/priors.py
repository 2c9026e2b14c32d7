"""Priors of the phases in a culture, and the calls that are withdrawn because of them.

"equal": G1, S, G2 and M have the same prior, as in training. "culture": few nuclei of a growing culture are in mitosis,
so M has a low prior. A field with more calls of M keeps the most probable, up to a tenth of its calls, whole nuclei
before those cut by the border, because a piece of any nucleus may have the outline of a mitosis. If more than a third
are called M, the culture is arrested in M, or unlike those of training, and no nucleus is called. G1, S and G2 have the
same prior: with the shares of a growing culture, calls were farther from the truth of simulated ones. "slide": G1, S
and G2 as in the DNA histogram of a well, an image without well, or a slide, given its G1 peak, and shrunk towards even
shares; M as in "culture". Without a peak it is "culture", for a crop, which has no histogram, "equal".

Source of the weighing: Saerens M, Latinne P, Decaestecker C. Neural Computation 14:21 (2002), with a stated prior.
"""

import numpy as np

from cellcycle.dna_content import G1Peak, count_near
from cellcycle.nuclei import Anchor, Nuclei, sound_dna
from cellcycle.phases import PHASES

PRIORS = ("equal", "culture", "slide")
# Prior of M: two to five of a hundred nuclei of a growing culture are mitoses. Greatest share of M among the calls.
MITOSES, _MOST_MITOSES = 0.04, 0.1
# A culture is arrested above this share of M among the calls, or above the second with an equal prior, which also gives
# at least the last number of M: errors of calls do not explain these.
_ARRESTED, _ARRESTED_ALIKE, _LEAST_ARRESTED = 1 / 3, 1 / 2, 6
# Number of pseudo-nuclei in even shares that are added to a histogram. With them confidence is right on simulated
# plates, without 0.05 too high. (One histogram for wells of several drugs is no better: each has its own.)
_EVEN_NUCLEI = 100
_G2_RATIO = 1.9
# Flag of all nuclei of an image, and reason for a withdrawn call, for `cellcycle.predict.reasons`.
ONE_PEAK, MANY_MITOSES = "one_dna_peak", "more_mitoses_than_a_culture"


def prior_of(asked: str, kind: str, anchor: Anchor | None) -> str:
    """Return the prior of an image of a kind; "auto" is "equal" for crops: they were selected, and show no shares."""
    usual = {"field": "culture", "nucleus": "equal"}[kind]
    if asked == "slide":
        return usual if anchor is None or kind == "nucleus" else asked
    return usual if asked == "auto" else asked


def weights_of(prior: str, classes, nuclei: Nuclei, anchor: Anchor | None) -> np.ndarray | None:
    """Return the prior weights (K,) of the classes; None for an equal prior, or if a phase is no class.

    Classes that are no phases have the weight 1/4.
    """
    if prior == "equal" or not set(PHASES) <= set(classes):
        return None
    shares = np.full(3, 1 / 3)
    if prior == "slide":
        counts = anchor.n_by_dna or count_near(sound_dna([nuclei]), anchor.position, _G2_RATIO)
        shares = (np.asarray(counts) + _EVEN_NUCLEI / 3) / (sum(counts) + _EVEN_NUCLEI)
    known = dict(zip(PHASES, np.append((1 - MITOSES) * shares, MITOSES), strict=True))
    return np.array([known.get(name, 1 / len(PHASES)) for name in classes])


def prior_text(prior: str, weights: np.ndarray | None) -> str:
    """Return the text of the column `prior`: its name, and the weights of the classes in their order."""
    return "equal" if weights is None else " ".join([prior, *(f"{weight:.4g}" for weight in weights)])


def one_peak_flag(peak: G1Peak | None) -> str:
    """Return the flag of an image whose DNA shows one peak or no G1, as of a culture arrested in G1 or in G2; else "".

    The size of nuclei does not tell in which phase: it differs more between kinds of cells.
    """
    return ONE_PEAK if peak is not None and peak.is_arrested else ""


def left_open(values: dict, prior: str, flag: str, weights=None, classes=PHASES) -> dict:
    """Return the columns of an image's nuclei without the calls that are withdrawn because of the prior.

    One DNA peak does not tell its phase. Mitoses are recognised by shape, but they would then be the only calls of the
    culture, so only an equal prior keeps them. If a field has too many mitoses for a culture, nuclei that would be M
    with an equal prior go to review. `weights` are those of `weights_of`, (K,) as the `classes`; calls of classes other
    than phases stay.
    """
    if not set(PHASES[:3]) <= set(classes):
        return values
    names = np.array(values["call"], dtype=object)
    is_open, is_doubted, why = np.zeros(len(names), bool), np.zeros(len(names), bool), ONE_PEAK
    if ONE_PEAK in flag.split(";"):
        is_open = np.isin(names, PHASES[:3] if prior == "equal" else PHASES)
    elif prior != "equal" and PHASES[3] in classes:
        scores = np.stack([values[f"p_{name}"] for name in classes], axis=1)
        # With an equal prior.
        why, is_mitosis = MANY_MITOSES, (scores / weights).argmax(axis=1) == list(classes).index(PHASES[3])
        is_open = _too_many(names, is_mitosis, values)
        is_doubted = is_open.any() & is_mitosis & ~is_open & (names != "") & (names != PHASES[3])
    names[is_open] = ""
    if "review" in values:
        values["confidence"] = np.where(is_open, np.nan, values["confidence"])
        values["prediction_set"] = np.where(is_open, "", values["prediction_set"]).tolist()
        said = zip(is_open | is_doubted, values["review"], strict=True)
        values["review"] = [f"{why};{text}".strip(";") if k and why not in text else text for k, text in said]
    return values | {"call": names}


def _too_many(names: np.ndarray, is_mitosis: np.ndarray, values: dict) -> np.ndarray:
    """Return which nuclei (N,) bool lose their call: surplus ones of M, or all phases if the culture is arrested."""
    mitoses, p_mitosis = np.flatnonzero(names == PHASES[3]), values[f"p_{PHASES[3]}"]
    is_called = np.isin(names, PHASES)
    n_called, n_alike = np.count_nonzero(is_called), np.count_nonzero(is_mitosis & is_called)
    is_arrested = len(mitoses) > _ARRESTED * n_called or n_alike > _ARRESTED_ALIKE * n_called
    if is_arrested and n_alike >= _LEAST_ARRESTED:
        return is_called
    # M may be a tenth of the calls that remain, and at least one.
    most = max(1, int((n_called - len(mitoses)) * _MOST_MITOSES / (1 - _MOST_MITOSES)))
    is_cut = np.array(["edge" in values["flags"][k].split(";") for k in mitoses], dtype=bool)
    is_open = np.zeros(len(names), bool)
    is_open[mitoses[np.lexsort((-p_mitosis[mitoses], is_cut))[most:]]] = True
    return is_open
