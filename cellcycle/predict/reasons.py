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
    "hot_pixel": "hot pixels of the camera were taken from it",
    "uneven_ground": "on the slope of a glow or of uneven light: its DNA content is too high",
    "other_g1_peak": "its well has its G1 peak elsewhere than the plate, does not fit that of the plate, or has many "
    "nuclei with more DNA than G2",
    "same_field": "shown by another image, or part of this one, too: a channel, plane, copy or time of one field",
    ONE_PEAK: "the DNA of all nuclei shows one peak, of G1 or of G2, or none of G1: its control, read with it, tells",
    MANY_MITOSES: "its field has more mitoses than a growing culture; if arrested: cellcycle predict --prior equal",
    why.BY_MARGIN: "a crop of unknown scale, by itself or unlike those of training: another margin may change the call",
    why.BY_FEW: "of a field of few nuclei without a pixel size: if all are of one phase, they are taken for another",
    why.BY_GUESS: "of a field of unknown or another scale, by a model that reads no G1 peak: size tells it the phase",
    why.SEVERAL: "of a picture that shows many nuclei but was taken for a crop of one: predict it as a field",
    why.CHANGED: "projected, smoothed, clipped, sharpened, stretched, put on a curve, or of another exposure or pixel "
    "size than those of training: give the raw picture, or train on such",
    why.CLIPPED: "background cut off or rounded, and with it the noise to judge by: give the raw picture",
    why.FINE: "pixels finer than any that the model learned from: give fields together, to have a G1 peak",
    why.NOISY: "noisier than any picture that the model learned from: expose longer, or give fields together, to "
    "have a G1 peak",
    "no_g1_peak": "too few nuclei to calibrate DNA content, so this model gives no answer",
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
