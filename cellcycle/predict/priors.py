"""What is taken to be known of a culture before a nucleus is looked at, and which calls it leaves open.

"equal": G1, S, G2 and M weigh alike, as in training. "culture": in a growing culture few nuclei are in mitosis, so M
weighs less, and a field with more of them keeps the most probable, a tenth of its calls, whole nuclei before those that
the border cuts: a piece of any nucleus may have the outline of a mitosis. Where a third look like mitoses the culture
is arrested in M, or of a kind that the model does not know: nothing is called. G1, S and G2 weigh alike: with the
shares of a growing culture calls came out farther from the truth of simulated ones. "slide": as many of each as the DNA
histogram of a well, an image of no well, or a slide shows, read against its G1 peak and drawn towards even shares, M as
in a culture; without a peak it is "culture", of a crop, which has no histogram, "equal".

Source of the weighing: Saerens M, Latinne P, Decaestecker C. Neural Computation 14:21 (2002), with a stated prior.
"""

import numpy as np

from cellcycle.dna_content import G1Peak, count_near
from cellcycle.nuclei import Anchor, Nuclei, sound_dna
from cellcycle.phases import PHASES

PRIORS = ("equal", "culture", "slide")
# Of a hundred nuclei of a growing culture two to five are mitoses.
MITOSES, _MOST_MITOSES = 0.04, 0.1
# More of them than this, by calls or if all phases weighed alike, and at least so many, are no matter of calls that are
# a little off.
_ARRESTED, _ARRESTED_ALIKE, _LEAST_ARRESTED = 1 / 3, 1 / 2, 6
# A histogram is drawn to even shares as by so many nuclei: with it confidence is right on simulated plates, on which it
# is 0.05 too high without. (One histogram for wells under several drugs is no better, so each well has its own.)
_EVEN_NUCLEI = 100
_G2_RATIO = 1.9
# A flag of all nuclei of an image, and why a call of M is left open; for `cellcycle.predict.reasons`.
ONE_PEAK, MANY_MITOSES = "one_dna_peak", "more_mitoses_than_a_culture"


def prior_of(asked: str, kind: str, anchor: Anchor | None) -> str:
    """Return the prior of an image of a kind: crops were picked, so nothing is known of their shares."""
    usual = {"field": "culture", "nucleus": "equal"}[kind]
    if asked == "slide":
        return usual if anchor is None or kind == "nucleus" else asked
    return usual if asked == "auto" else asked


def weights_of(prior: str, classes, nuclei: Nuclei, anchor: Anchor | None) -> np.ndarray | None:
    """Return by what the probabilities of the classes (K,) are weighed; None where nothing is known of them.

    Known are phases, if all four are among the classes; any other weighs as each of these if they were alike.
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
    """Return what the column `prior` says: its name, and the weights of the classes in their order."""
    return "equal" if weights is None else " ".join([prior, *(f"{weight:.4g}" for weight in weights)])


def one_peak_flag(peak: G1Peak | None) -> str:
    """Return the flag of an image whose DNA shows one peak or no G1: a culture that stands still, in G1 or in G2.

    The size of its nuclei does not say in which: from one kind of cells to another it differs more.
    """
    return ONE_PEAK if peak is not None and peak.is_arrested else ""


def left_open(values: dict, prior: str, flag: str, weights=None, classes=PHASES) -> dict:
    """Return the columns of an image's nuclei without the calls of phases that are not made after all.

    One peak does not say at which phase it stands. Mitoses are told by their shape, but where all else is left open
    they alone would make up the shares of the culture, so that only an equal prior keeps them. Where mitoses are too
    many for a culture, what is one but for the prior goes to review. `weights` are those of `weights_of`, (K,)
    as the `classes`; calls of other classes than phases stay.
    """
    if not set(PHASES[:3]) <= set(classes):
        return values
    names = np.array(values["call"], dtype=object)
    is_open, is_doubted, why = np.zeros(len(names), bool), np.zeros(len(names), bool), ONE_PEAK
    if ONE_PEAK in flag.split(";"):
        is_open = np.isin(names, PHASES[:3] if prior == "equal" else PHASES)
    elif prior != "equal" and PHASES[3] in classes:
        scores = np.stack([values[f"p_{name}"] for name in classes], axis=1)
        # If all phases weighed alike.
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
    """Return which nuclei (N,) bool are called M, or at all, in a field with more mitoses than a culture has."""
    mitoses, p_mitosis = np.flatnonzero(names == PHASES[3]), values[f"p_{PHASES[3]}"]
    is_called = np.isin(names, PHASES)
    n_called, n_alike = np.count_nonzero(is_called), np.count_nonzero(is_mitosis & is_called)
    is_arrested = len(mitoses) > _ARRESTED * n_called or n_alike > _ARRESTED_ALIKE * n_called
    if is_arrested and n_alike >= _LEAST_ARRESTED:
        return is_called
    # A tenth of the calls that are left.
    most = max(1, int((n_called - len(mitoses)) * _MOST_MITOSES / (1 - _MOST_MITOSES)))
    is_cut = np.array(["edge" in values["flags"][k].split(";") for k in mitoses], dtype=bool)
    is_open = np.zeros(len(names), bool)
    is_open[mitoses[np.lexsort((-p_mitosis[mitoses], is_cut))[most:]]] = True
    return is_open
