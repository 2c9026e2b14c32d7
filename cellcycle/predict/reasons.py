"""The texts of all reasons why a person should look at a nucleus, or why it has no call."""

from cellcycle.confidence import assessment as why
from cellcycle.predict.priors import MANY_MITOSES, ONE_PEAK

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
    "hot_pixel": "hot pixels of the camera were removed from it",
    "uneven_ground": "on the slope of a glow or of uneven light: its DNA content is too high",
    "other_g1_peak": "its well has another G1 peak than the plate, does not fit the G1 peak of the plate, or has many "
    "nuclei with more DNA than G2",
    "same_field": "another image, or part of this one, shows it too: a channel, plane, copy or time of one field",
    ONE_PEAK: "its DNA histogram has one peak, G1 or G2, or no G1 peak: predict it with its control to know which",
    MANY_MITOSES: "its field has more mitoses than a growing culture; if arrested in M: cellcycle predict "
    "--prior equal",
    why.BY_MARGIN: "its crop has no known scale and is read alone, or is unlike those of training: another margin may "
    "change the call",
    why.BY_FEW: "its field has few nuclei and no pixel size: if all are in one phase, they may be called another",
    why.BY_GUESS: "its field has an unknown or unusual scale, and this model, without a G1 peak, judges by size",
    why.SEVERAL: "its picture shows many nuclei but was read as a crop of one: predict it as a field",
    why.CHANGED: "its picture was projected, smoothed, clipped, sharpened, stretched or put on a curve, or has another "
    "exposure or pixel size than those of training: give the raw picture, or train on such pictures",
    why.CLIPPED: "its background was cut off or rounded, and so was the noise to judge by: give the raw picture",
    why.FINE: "its pixels are finer than any that the model learned from: give fields together, to have a G1 peak",
    why.NOISY: "its picture is noisier than any that the model learned from: expose longer, or give fields together, "
    "to have a G1 peak",
    "no_g1_peak": "no G1 peak to calibrate its DNA content by, so this model gives no answer",
}
# Reasons for which a nucleus has no call.
UNCALLED = (ONE_PEAK, MANY_MITOSES, "no_g1_peak", why.NO_CALL)


def in_words(code: str, call: str = "its phase", pair: str = "one phase or another") -> str:
    """Return the text of a reason or flag; one without a text as it is, with spaces for "_".

    Examples
    --------
    >>> in_words("out_of_focus"), in_words("untypical_of_its_phase", call="M")
    ('out of focus', 'unusual for M')
    """
    return REASON_WORDS.get(code, code.replace("_", " ")).replace("{pair}", pair).replace("{call}", call)
