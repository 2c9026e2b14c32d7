"""Which nuclei a person should look at first, and why, in the words of `cellcycle.predict.reasons`.

The functions take the columns of a prediction table, as a `pandas.DataFrame` or as a dict of lists.
"""

import numpy as np

from cellcycle.confidence import PRICE
from cellcycle.confidence import assessment as why
from cellcycle.predict.reasons import in_words

# For models without calibrated confidence: below this probability a review costs less than a wrong call.
_SURE = 1 - PRICE
# Flags that concern a whole image, or rows without a nucleus.
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
    """Return the probability of each call (N,): the model's confidence, or its highest score if it has none.

    NaN where there are no probabilities.
    """
    scores = _scores(columns)
    known = _known(columns, len(scores))
    return np.where(np.isfinite(known), known, scores.max(axis=1))


def reason_codes(columns) -> list[list[str]]:
    """Return the keys of `REASON_WORDS` that apply to each row, without those that concern a whole image.

    Models with confidence give them in the column `review`; for any other model they are a probability below 60 % and
    the quality flags.
    """
    sure, found = sureness(columns), []
    knows = np.isfinite(_known(columns, len(sure)))
    own = list(columns["review"]) if "review" in columns else [""] * len(sure)
    for k, (call, flags) in enumerate(zip(columns["call"], columns["flags"], strict=True)):
        said = own[k] if knows[k] or own[k] else f"{why.UNCERTAIN if call and sure[k] < _SURE else ''};{flags}"
        found.append([code for code in said.split(";") if code not in OF_IMAGE])
    return found


def reasons(columns) -> list[str]:
    """Return the reasons to review each row, in words; "" if there is none.

    Examples
    --------
    >>> reasons({"call": ["S"], "p_G1": [0.4], "p_S": [0.5], "p_G2": [0.1], "flags": ["edge"]})
    ["unsure whether S or G1, cut by the image's edge"]
    """
    names, likeliest = classes_of(columns), np.argsort(-_scores(columns), axis=1)[:, :2]
    pairs = (either([names[c] for c in order]) for order in likeliest)
    every = zip(reason_codes(columns), columns["call"], pairs, strict=True)
    return [", ".join(in_words(code, call, pair) for code in codes) for codes, call, pair in every]


def either(names) -> str:
    """Return names joined by commas and "or".

    Examples
    --------
    >>> either(["G1", "S", "G2"])
    'G1, S or G2'
    """
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def review_order(columns) -> np.ndarray:
    """Return the positions of rows with a nucleus: those with a reason first, then the others, least sure first.

    Examples
    --------
    >>> review_order({"nucleus_id": [1, 2, 3], "call": ["S"] * 3, "p_G1": [0.1, 0.45, 0.3],
    ...               "p_S": [0.9, 0.55, 0.7], "flags": [""] * 3}).tolist()
    [1, 2, 0]
    """
    has_reason = np.array([bool(codes) for codes in reason_codes(columns)], dtype=bool)
    order = np.lexsort((np.nan_to_num(sureness(columns), nan=0.0), ~has_reason))
    # pandas marks a missing integer as NA, which cannot become a float.
    is_nucleus = np.array([str(number) not in ("<NA>", "nan", "None") for number in columns["nucleus_id"]], dtype=bool)
    return order[is_nucleus[order]]


def _scores(columns) -> np.ndarray:
    return np.column_stack([np.asarray(columns[f"p_{name}"], dtype=float) for name in classes_of(columns)])


def _known(columns, n_rows: int) -> np.ndarray:
    return np.asarray(columns["confidence"] if "confidence" in columns else [np.nan] * n_rows, dtype=float)
