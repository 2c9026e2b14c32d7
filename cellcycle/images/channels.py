"""Choose the DNA channel of a file by a fixed rule, or refuse and list the channels."""

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from cellcycle.errors import ImageError
from cellcycle.images.colours import only_picture, without_drawings
from cellcycle.images.makers import plain
from cellcycle.images.stacks import STACK, Stack

# What to do with files of other channels.
DNA_ALONE = "give the files of DNA alone, or judge each by itself (--each)"
# Names of DNA stains: they identify a channel also among other words, unless these negate it or name another stain.
_STAINS = {"dapi", "hoechst", "hoe", "draq", "sytox", "nucblue", "nucspot", "picogreen", "topro", "feulgen"}
# These, like markers and lasers, need a name without other words: DNA-PK, nuclear envelope, GFP excited at 405.
_BARE = {"dna", "sirdna"}
# Beside another stain or a live-cell dye, these may stain dead cells only. DRAQ5 stains all cells.
_OF_THE_DEAD = {"sytox", "draq", "topro"}
_PROPIDIUM = {"propidium", "iodide", "pi"}
# Dyes and markers of living or dying cells. Beside one of them, propidium iodide also stains dead cells only.
_OF_THE_LIVING = {
    "calcein", "annexin", "annexinv", "acridine", "ao", "caspase", "casp", "cellevent", "nucview", "fda", "cfda",
    "diacetate", "syto", "yopro", "dead", "livedead", "viability", "zombie", "tunel", "apoptosis",
}  # fmt: skip
# Lasers and lamps that light up DNA stains, in nm.
_UV = {"385", "395", "405"}
_LASER = re.compile(r"(?:conf(?:ocal)?|csu|laser|led|spinning|tirf)?(385|395|405)(?:nm)?")
_MARKERS = {"h2b", "nuclei", "nuclear", "nucleus", "nuc", "chromatin", *_PROPIDIUM}
# In file names these mean DNA only if other files have a known stain in the same place: PI may also be a person.
NUCLEI = frozenset({"nuclei", "nucleus", "nuclear", "nuc", "pi"})
_FLUORS = {
    "gfp", "egfp", "yfp", "eyfp", "cfp", "ecfp", "rfp", "mrfp", "irfp", "mcherry", "cherry", "mturquoise", "venus",
    "citrine", "cerulean", "mneongreen", "neongreen", "mscarlet", "mkate", "mruby", "mko", "tomato", "tdtomato",
    "dsred", "fitc", "tritc", "rhodamine", "texas", "texasred", "txred", "cy2", "cy3", "cy5", "cy7", "alexa", "af488",
    "af555", "af568", "af594", "af647", "a488", "a555", "a568", "a594", "a647", "edu", "brdu", "actin", "phalloidin",
    "tubulin", "wga", "cona", "mitotracker", "lysotracker", "bodipy", "bf", "brightfield", "phase", "dic", "pc",
    "trans", "tl", "hmc", "bfp", "tagbfp", "ebfp", "ebfp2", "cy55", "irfp670", "irfp713", "mirfp670", "sfgfp",
}  # fmt: skip
# Beside the name of a DNA stain these mean that the channel shows them, not DNA.
_OTHERS = {
    "ki", "ki67", "pcna", "mcm2", "gh2ax", "h2ax", "h3", "ph3", "prb", "rb", "p21", "p27", "p53", "lamin", "laminb1",
    "cyclin", "cyclinb1", "cycline", "geminin", "cdt1", "fucci", "vimentin", "keratin", "mito", "golgi", "er",
    "membrane", "cytoplasm", "antibody", "ab", "mhc", "igg", "pacific", "cascade",
    "lifeact", "oct4", "sox2", "nanog", "amca", "coumarin", "lysosensor", "qdot", "fish", "shg", *_OF_THE_LIVING,
}  # fmt: skip
# Numbered markers of white blood cells (CD45), and numbered dyes that the DAPI filter may show too (BV421).
_NUMBERED_OTHER = re.compile(r"cd\d{1,3}[a-z]?|b?u?v\d{3}|bv\d{3}|af\d{3}|cf\d{3}|atto\d{3}|dylight\d{3}|efluor\d{3}")
_NOT = {
    "non", "no", "not", "without", "anti", "minus", "negative", "neg", "free", "mask", "masks", "label", "labels",
    "seg", "segmentation", "bleed", "bleedthrough", "leak", "crosstalk", "background", "bg", "blank", "empty",
    "unstained", "ratio", "prediction", "probability", "merge", "merged", "composite", "overlay", "fret",
    "secondary", "2nd", "isotype", "control", "ctrl", "autofluorescence", "autofluor", "autofluo", "auto", "af",
    "flatfield", "flat", "shading", "illumination", "illum", "dark", "darkfield", "quench", "quenched", "off", "sub",
    "subtracted", "bleach", "bleached", "bleaching", "photobleached", "photobleaching", "spillover", "spill", "noise",
    "diff", "difference", "binary", "threshold", "outline", "outlines", "contours", "predicted", "virtual", "inverted",
    "dump", "exclusion", "reference", "residual", "ve",
    # Maps computed from the channel.
    "prob", "probs", "probabilities", "pred", "cellprob", "logits", "softmax", "score", "heatmap", "map", "distance",
    "distances", "edt", "watershed", "edges", "boundaries", "gradient", "sobel", "canny", "laplacian", "entropy",
    "variance", "skeleton", "seeds", "centroids", "instances", "segmented", "thresholded", "otsu", "binarized",
    "classified", "annotation", "annotations", "truth", "lifetime", "flim", "phasor",
    # German, French, Spanish and Italian.
    "ohne", "kein", "keine", "sans", "sin", "senza", "maske", "masken", "masque", "máscara", "maschera", "leer", "vide",
    "vacío", "vuoto", "hintergrund", "fond", "fondo", "sfondo", "kontrolle", "témoin", "contrôle", "controllo",
}  # fmt: skip
_PLAIN = {
    "channel", "ch", "stain", "stained", "staining", "dye", "fluorescence", "widefield", "confocal", "conf", "csu",
    "spinning", "disk", "emission", "nm", "um", "blue", "signal", "raw", "intensity", "image", "filter", "cube", "led",
    "laser", "uv", "content", "green", "orange", "red", "spy", "camera", "ex", "tirf",
}  # fmt: skip
# Colours that distinguish files of channels. IR and UV are left out: they may be treatments (irradiation).
_COLOURS = {"violet", "blue", "cyan", "green", "yellow", "orange", "red", "farred", "deepred", "nir", "magenta"}
# The same in German, French, Spanish and Italian.
_COLOURS |= {
    "blau", "grün", "gruen", "rot", "gelb", "bleu", "vert", "rouge", "jaune", "azul", "verde", "rojo", "amarillo",
    "blu", "rosso", "giallo",
}  # fmt: skip
# Words that name a channel in a file name, and words that say that a channel is not DNA.
IN_NAMES = _FLUORS | _COLOURS
_NOT_DNA = _NOT | _FLUORS | _OTHERS
# Hoechst in any common spelling, or shortened with its number (H33342).
_HOECHST = r"h(?:oe|ö|o)[cehs]{2,5}t|h(?:oe?)?[ _-]?(?=33(?:342|258)(?!\d))"
# Names of stains in file names: of DNA, with the product number and words that negate it (no, background); and names of
# other stains that have several words.
_DNA_NAME = re.compile(
    r"(?:(?<![A-Za-z])(?:no|non|not|without|anti|sub|ohne|kein|sans|sin|senza)[ _-]?)?"
    rf"(?:(?<![A-Za-z])(?:dapi|{_HOECHST}|hoe)|(?-i:(?<=[a-z])(?:DAPI|Dapi|Hoechst))"
    r"|(?<![A-Za-z])(?:draq|sytox|nucblue|nucspot|picogreen|to-?pro|feulgen|sir-?dna|spy\d{3}-?dna|dna|h2b))"
    r"(?:[ _-]?(?:33342|33258|34580)|(?<=draq)[57]|(?<=pro)[ _-]?[135]"
    r"|(?<=sytox)[ _-]?(?:green|blue|orange|red))?(?![A-Za-z])"
    r"(?:[ _-](?:secondary(?:[ _-]only)?|background|bg|flat[ _-]?field|dark|blank|autofluorescence|bleed\w*)"
    r"(?![A-Za-z]))?"
    r"|(?<![A-Za-z])(?:dapi|hoechst)(?=z\d)",
    re.IGNORECASE,
)
_OTHER_NAME = re.compile(
    r"(?:(?<=channel)|(?<![A-Za-z]))(?:alexa[ _-]?(?:fluor)?[ _-]?\d{3}|texas[ _-]?red"
    r"|(?:far|deep)[ _-]?red|near[ _-]?(?:ir|infrared)|cy5\.5"
    r"|(?:tl|trans(?:mitted)?)[ _-](?:bright[ _-]?field|light|dic|phase)|bright[ _-]?field|phase[ _-]?contrast"
    r"|propidium[ _-]iodide)(?![A-Za-z])"
    r"|(?<=channel)(?:gfp|yfp|cfp|rfp|fitc|tritc|cy[2357]|mcherry|txred|bf|dic)(?![A-Za-z])",
    re.IGNORECASE,
)
# In the place of a stain these are not another stain: numbers of fields, times or planes, wells, letters, conditions.
_COUNTER = re.compile(
    r"(?:[fmstz]|xy)(?:0\d*|\d{1,2})|(?:pos|field|site|fov|tile|time|day|slice|plane|im(?:a?ge?)|series|scene|rep)\d+"
    r"|(?-i:[A-P](?:0[1-9]|1\d|2[0-4]))", re.IGNORECASE)  # fmt: skip
_NO_STAIN = re.compile(
    r"[\d_. -]+|[a-z]|controls?|ctrl|(?:un|mock[ _-]?)?treated|mock|wt|wild[ _-]?type|ko", re.IGNORECASE
)
_DRUG = re.compile(
    r"nocodazole|noc|thymidine|ro-?3306|palbociclib|taxol|paclitaxel|hydroxyurea|hu|aphidicolin|doxorubicin|etoposide"
    r"|colcemid|stlc|dmso|vehicle|untreated", re.IGNORECASE)  # fmt: skip
_WORD = re.compile(r"[^\W_]+")


def choose_channel(stack: Stack, channel: int | str | None, load: Callable[[int], np.ndarray]) -> int:
    """Return the index of the DNA channel; an `ImageError` says that `channel` is not there or that no rule decides.

    `load` returns a channel (H, W) by its index; it is called only if the names do not decide.
    """
    if channel is not None:
        return _find(stack, channel)
    named = by_name(stack.channel_names)
    others = {name: file for name, file in stack.elsewhere.items() if name != STACK}
    if not named and others:
        files = ", ".join(dict.fromkeys(others.values()))
        finding = f"other channels of this field lie in {files}, and none is named after a DNA stain"
        if dna := [name for name in others if by_name([name])]:
            finding = f"the channel {dna[0]} of this field lies in {others[dna[0]]}"
        remedy = "give that file, or name a channel of this one with channel= (--channel on the command line)"
        raise ImageError(stack.path, f"it holds {_listed(stack)}; {finding}", remedy)
    if stack.n_channels == 1:
        return 0
    if len(named) == 1:
        return named[0]
    index = None if named else only_picture(map(load, range(stack.n_channels)))
    if index is None and not named and stack.is_colour:
        index = only_picture(without_drawings(list(map(load, range(stack.n_channels)))))
    if index is None:
        are_dna = named and all(by_name([stack.channel_names[i]]) for i in named)
        finding = f"{len(named)} of them are named after a DNA stain" if are_dna else "none is clearly the DNA stain"
        finding = f"it has {stack.n_channels} channels ({_listed(stack)}) and {finding}"
        raise ImageError(stack.path, finding, "name it with channel=, by index or name (--channel on the command line)")
    return index


def by_name(names) -> list[int]:
    """Return the indices of the names that say DNA most clearly: a stain alone, else a stain among words, or a marker.

    If only stains that may show dead cells are found, channels of live-cell dyes and histones (H2B) are returned too.

    Examples
    --------
    >>> by_name(["DNAJB6-GFP", "Hoechst 33342"]), by_name(["GFP", "nuclear envelope"]), by_name(["H2B-GFP", "DAPI"])
    ([1], [], [1])
    """
    ranks = [_rank(name) for name in names]
    least = min((rank for rank in ranks if rank is not None), default=None)
    found = [i for i, rank in enumerate(ranks) if rank is not None and rank == least]
    living = [i for i, name in enumerate(names) if is_of_the_living(name)]
    if of_all := [i for i in found if not is_of_the_dead(names[i], bool(living))]:
        # Beside another DNA stain, DRAQ5 is often used to mark whole cells, so the other one is preferred.
        return [i for i in of_all if "draq" not in map(_unnumbered, words(names[i]))] or of_all
    histones = [i for i, name in enumerate(names) if "h2b" in map(_unnumbered, words(name))]
    return found and sorted({*found, *living, *histones})


def is_of_the_dead(name: str, propidium: bool = False) -> bool:
    """Return whether a name has a stain that may show dead cells only; with `propidium` its words count as such too."""
    said = set(map(_unnumbered, words(name))) - ({"draq"} if "draq5" in words(name) else set())
    return bool(said & (_OF_THE_DEAD | _PROPIDIUM if propidium else _OF_THE_DEAD))


def is_of_the_living(name: str) -> bool:
    """Return whether a name has a dye or marker of living or dying cells."""
    return not (_OF_THE_LIVING | {"live"}).isdisjoint(map(_unnumbered, words(name)))


def _rank(name: str) -> int | None:
    """Return how clearly a name says DNA, from 0 (clearest) to 4; None if it says something else."""
    said = words(name)
    # Only 385, 395 and 405 are kept as lasers; other digits number a product or a channel.
    lasers = {found[1] for word in said if (found := _LASER.fullmatch(word))}
    rest = set(map(_unnumbered, said)) - {"", *_PLAIN} | lasers
    if rest & (_STAINS | _BARE) and rest <= _STAINS | _BARE | _MARKERS | _UV:
        return 0
    if rest & _STAINS and not any(_is_other(word) for word in rest | set(said)):
        return 1
    # A fluorescent protein fused to a histone shows DNA; without the histone it only fills the nucleus.
    if rest & _MARKERS and rest - ({*_FLUORS, "histone"} if "h2b" in rest else set()) <= _MARKERS:
        return 2
    # Only a wavelength that excites DNA stains: the usual laser (405 nm) is preferred to lamps (385, 395 nm).
    return (3 if "405" in rest else 4) if rest and rest <= _UV else None


def says_stain(name: str) -> bool:
    """Return whether a name has a DNA stain as a whole word and no word that negates it; other words do not matter."""
    said = set(words(name))
    return not _STAINS.isdisjoint(map(_unnumbered, said)) and not said & _NOT


def _unnumbered(word: str) -> str:
    return re.sub(r"^(?:w|c|ch)?\d+|\d+$", "", word)


def is_known(name: str) -> bool:
    """Return whether a name has a word for a stain or marker of something other than DNA."""
    return any(_is_other(word) and word not in _NOT for word in words(name))


def _is_other(word: str) -> bool:
    return word in _NOT_DNA or bool(_NUMBERED_OTHER.fullmatch(word))


def stain_spans(text: str, nuclei: bool = False) -> list[tuple[int, int]]:
    """Return the (start, end) of each stain, of DNA or others, and colour (with `nuclei` also nuclei) in a file name.

    A span includes a "no" before the stain and its product number, but no other number, which may count files.

    Examples
    --------
    >>> [[text[a:b] for a, b in stain_spans(text)] for text in ("A01_DAPI2", "s1 Alexa Fluor 488", "no_dapi", "mtDNA")]
    [['DAPI'], ['Alexa Fluor 488'], ['no_dapi'], []]
    """
    spans: list[tuple[int, int]] = []
    known = IN_NAMES | NUCLEI if nuclei else IN_NAMES
    for pattern in (_DNA_NAME, _OTHER_NAME, _WORD):
        for found in pattern.finditer(text):
            is_free = all(found.end() <= start or end <= found.start() for start, end in spans)
            if is_free and (pattern is not _WORD or found.group().lower() in known):
                spans.append(found.span())
    return sorted(spans)


def can_be_stain(text: str) -> bool:
    """Return whether words in the place of a stain may name another stain."""
    said = re.split(r"[ _.-]+", text)
    is_counted = any(map(_COUNTER.fullmatch, said)) or any(map(_DRUG.fullmatch, [*said, text]))
    return not is_counted and not _NO_STAIN.fullmatch(text)


@lru_cache(1 << 12)
def words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case; a capital after small letters begins a new word.

    Examples
    --------
    >>> words("confDAPI-405 nm"), words("nonDNA_mCherry"), words("ex405")
    (('conf', 'dapi', '405', 'nm'), ('non', 'dna', 'mcherry'), ('ex405',))
    """
    name = re.sub(rf"(?<![A-Za-z])(?:{_HOECHST})", "Hoechst", plain(name), flags=re.IGNORECASE)
    name = re.sub(r"(sir)[- _]?(dna)|([ty]o)[- _]?(pro)|(draq)[- _](?=[57])", r"\1\2\3\4\5", name, flags=re.IGNORECASE)
    name = re.sub(r"Nuc(?:Blue|Spot)|PicoGreen", lambda found: found.group().lower(), name)
    parted = re.sub(r"(?<=[a-z]{2})(?=[A-Z])|(?<=[a-z])(?=D(?:NA|API|api))|(?<=[a-z])(?=Hoechst)", " ", name)
    return tuple(filter(None, re.split(r"[\W_]+", parted.lower())))


def _find(stack: Stack, channel: int | str) -> int:
    """Return the channel with this name or index, or the only one whose name has all its words, or else contains it.

    Text in double quotes is taken for a name; it is taken for an index only if no channel has that name.
    """
    said = str(channel).strip()
    asked = unquoted(said)
    text, *names = map(_without_zeros, (asked, *stack.channel_names))
    exact = [i for i, name in enumerate(stack.channel_names) if name == asked]
    found = exact or [i for i, name in enumerate(names) if name == text]
    if len(found) == 1 and not isinstance(channel, int):
        index = int(text) if is_index(text) and asked == said else stack.n_channels
        if index < stack.n_channels and names[index] != text:
            finding = f"{text} is the name of one of its channels and the index of another ({_listed(stack)})"
            one, other = (stack.channel_names[i] for i in (found[0], index))
            remedy = f"give a name in double quotes, '\"{one}\"' or '\"{other}\"'"
            raise ImageError(stack.path, finding, remedy)
        return found[0]
    if is_index(text) and int(text) < stack.n_channels and (not found or isinstance(channel, int)):
        return int(text)
    if not found:
        wanted = set(words(asked))
        found = [i for i, name in enumerate(stack.channel_names) if wanted and wanted <= set(words(name))]
        if len(found) != 1 and not is_index(text):
            found = found or [i for i, name in enumerate(names) if text and text in name]
    if len(found) != 1:
        finding = f"{len(found)} channels match" if found else "no channel matches"
        remedy = f"choose one of {_listed(stack)}" + ", by its index" * bool(found)
        raise ImageError(stack.path, f'{finding} "{asked}"', remedy)
    return found[0]


def _without_zeros(name: str) -> str:
    """Return a name in lower case; a number without leading zeros, which spreadsheets drop."""
    return str(int(name)) if is_index(name) else name.lower()


def unquoted(text: str) -> str:
    """Return a text without enclosing double quotes."""
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text


def is_index(text: str) -> bool:
    """Return whether a text can be the index of a channel; `isdigit` alone would accept a superscript."""
    return text.isascii() and text.isdigit() and len(text) < 10


def _listed(stack: Stack) -> str:
    return ", ".join(str(i) if name == str(i) else f"{i} {name}" for i, name in enumerate(stack.channel_names))
