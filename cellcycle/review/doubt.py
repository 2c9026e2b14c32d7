"""Which nuclei a person should look at first, and why, in plain words: the one place of these words.

The functions take the columns of a prediction table, as a `pandas.DataFrame` or as a dict of lists.
"""

import numpy as np

from cellcycle.confidence import PRICE
from cellcycle.confidence import assessment as why
from cellcycle.predict.priors import MANY_MITOSES, ONE_PEAK

# Of a model without a confidence of its own: below this probability asking costs less than the call.
_SURE = 1 - PRICE
# {pair} stands for the two likeliest classes, {call} for the one that was called.
REASON_WORDS = {
    why.UNCERTAIN: "unsure whether {pair}",
    why.UNTYPICAL: "unusual for {call}",
    why.STRANGE: "looks unlike the cells that the model learned from",
    why.NO_CALL: "too unlike any nucleus that the model learned from to be called",
    "edge": "cut by the image's edge",
    "clump": "perhaps several nuclei",
    "debris": "too little DNA for a whole nucleus, or touched by dirt",
    "out_of_focus": "out of focus",
    "saturated": "overexposed: its DNA content is too low",
    "hot_pixel": "hot pixels of the camera were taken from it",
    "other_g1_peak": "its well has its G1 peak elsewhere than the plate, or hardly a nucleus there",
    "same_field": "shown by another image, too, at the same place: a channel, plane, copy or time of one field",
    ONE_PEAK: "the DNA of all nuclei shows one peak: a culture that stands still in G1 or in G2, which cannot be told",
    MANY_MITOSES: "its field has more mitoses than a growing culture: of cells arrested in M say --prior equal",
    why.BY_MARGIN: "a crop by itself without a pixel size: a wider or narrower margin may change the call",
    why.BY_FEW: "of a field of few nuclei without a pixel size: if all are of one phase, they are taken for another",
    why.CHANGED: "of a picture that was projected, smoothed, sharpened or put on a curve: give the raw picture",
    why.CLIPPED: "background cut off or rounded, and with it the noise to judge by: give the raw picture",
    why.FINE: "pixels finer than any that the model learned from: give fields together, to have a G1 peak",
    "no_g1_peak": "too few nuclei to calibrate DNA content, so this model gives no answer",
}
# These are of a whole image, or there is no nucleus to look at.
OF_IMAGE = {"", "scale_unknown", "no_nucleus", "inverted", "unreadable"}


def classes_of(columns) -> tuple[str, ...]:
    """Return the classes of the model that made a prediction table, in their order.

    Examples
    --------
    >>> classes_of({"call": ["G1"], "p_G1": [0.9], "p_S": [0.1], "flags": [""]})
    ('G1', 'S')
    """
    return tuple(name[2:] for name in columns if name.startswith("p_"))


def sureness(columns) -> np.ndarray:
    """Return the probability of each call (N,): the model's confidence in it, or its highest score where it has none.

    NaN where there is no call.
    """
    scores = _scores(columns)
    known = _known(columns, len(scores))
    return np.where(np.isfinite(known), known, scores.max(axis=1))


def reason_codes(columns) -> list[list[str]]:
    """Return the keys of `REASON_WORDS` that hold for each row; what is said of a whole image is left out.

    A model that knows its confidence says so in the column `review`; for any other the reasons are a probability
    below 60 % and the quality flags.
    """
    sure, found = sureness(columns), []
    knows = np.isfinite(_known(columns, len(sure)))
    own = list(columns["review"]) if "review" in columns else [""] * len(sure)
    for k, (call, flags) in enumerate(zip(columns["call"], columns["flags"], strict=True)):
        said = own[k] if knows[k] or own[k] else f"{why.UNCERTAIN if call and sure[k] < _SURE else ''};{flags}"
        found.append([code for code in said.split(";") if code not in OF_IMAGE])
    return found


def reasons(columns) -> list[str]:
    """Return why a person should look at each row, in plain words; "" where there is no reason.

    Examples
    --------
    >>> reasons({"call": ["S"], "p_G1": [0.4], "p_S": [0.5], "p_G2": [0.1], "flags": ["edge"]})
    ["unsure whether S or G1, cut by the image's edge"]
    """
    names, likeliest = classes_of(columns), np.argsort(-_scores(columns), axis=1)[:, :2]
    pairs = (either([names[c] for c in order]) for order in likeliest)
    every = zip(reason_codes(columns), columns["call"], pairs, strict=True)
    return [", ".join(in_words(code, call, pair) for code in codes) for codes, call, pair in every]


def in_words(code: str, call: str = "its phase", pair: str = "one phase or another") -> str:
    """Return one reason or flag in plain words; one that has none of its own is told as it is.

    Examples
    --------
    >>> in_words("out_of_focus"), in_words("untypical_of_its_phase", call="M")
    ('out of focus', 'unusual for M')
    """
    return REASON_WORDS.get(code, code.replace("_", " ")).replace("{pair}", pair).replace("{call}", call)


def either(names) -> str:
    """Return names as a choice in words.

    Examples
    --------
    >>> either(["G1", "S", "G2"])
    'G1, S or G2'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def review_order(columns) -> np.ndarray:
    """Return the rows that hold a nucleus, the doubtful first: those with a reason, within each the least sure first.

    Examples
    --------
    >>> review_order({"nucleus_id": [1, 2, 3], "call": ["S"] * 3, "p_G1": [0.1, 0.45, 0.3],
    ...               "p_S": [0.9, 0.55, 0.7], "flags": [""] * 3}).tolist()
    [1, 2, 0]
    """
    has_reason = np.array([bool(codes) for codes in reason_codes(columns)], dtype=bool)
    order = np.lexsort((np.nan_to_num(sureness(columns), nan=0.0), ~has_reason))
    # pandas marks a missing whole number as NA, which is no float.
    is_nucleus = np.array([str(number) not in ("<NA>", "nan", "None") for number in columns["nucleus_id"]], dtype=bool)
    return order[is_nucleus[order]]


def _scores(columns) -> np.ndarray:
    return np.column_stack([np.asarray(columns[f"p_{name}"], dtype=float) for name in classes_of(columns)])


def _known(columns, n_rows: int) -> np.ndarray:
    return np.asarray(columns["confidence"] if "confidence" in columns else [np.nan] * n_rows, dtype=float)
