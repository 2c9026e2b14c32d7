"""A trained model in a folder: a card, its weights, and a graph that runs without torch.

- `model.json`: the card. What it is, what it was trained on, its input rule, scores, limits and licence, and
  the sha256 of the other two files.
- `weights.safetensors`: the weights, to fine-tune or to explain.
- `model.onnx`: prepared images (N, 1, H, W), and measurements (N, M) where the input rule names any, to logits
  (N, K), for ONNX Runtime.

Nothing is pickled, and a file that does not have the hash of the card is refused.
"""

import difflib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path

from cellcycle.confidence import Confidence
from cellcycle.errors import CheckpointError, SettingError
from cellcycle.nuclei import Scale

FORMAT = 1
# The model that needs nothing but one picture, and the one to take where the G1 peak is known.
DEFAULT, ANCHORED = "nagao6", "best"
# The study's own words for its models.
ALIASES = {"nagao": "nagao6", "resnet": "resnet8", "resnet-8": "resnet8", "lr": "lr", "nn": "nn"}
INTENSITIES = ("per-image", "data-set", "g1-peak")
FILES = ("weights.safetensors", "model.onnx")
# Keys of a card without which it is refused.
_KEYS = ("name", "title", "version", "classes", "input", "network", "trained_on", "licence", "limits", "sha256")


@dataclass(frozen=True)
class InputRule:
    """How a nucleus becomes the picture that a model takes.

    Parameters
    ----------
    size_px : int
        Side of the square picture.
    pixel_size_um : float
        Edge of its pixels in the sample; an image of another pixel size is resampled to this one.
    intensity : {"per-image", "data-set", "g1-peak"}
        "per-image": zero mean and unit variance of each picture, so that exposure drops out. "data-set":
        intensity above background as a share of the file's full range, less `mean`, over `deviation`, which
        were measured on the training images. "g1-peak": intensity above background in genome copies a um2,
        by the G1 peak of the field's DNA histogram, then `mean` and `deviation` likewise.
    median_area_um2 : float
        Median nuclear area of the training cells: sets the scale of an image without a pixel size.
    mean, deviation : float
        See `intensity`.
    neighbours : {"painted", "kept"}
        Whether other nuclei in the picture are painted over with background.
    measurements : sequence of str
        Columns of the prediction table whose logarithms to base 2 are the model's second input; none for a model
        that sees the picture alone.
    measurement_means, measurement_deviations : sequence of float
        Of these logarithms over the training nuclei.
    g1_area_um2 : float
        Median area of the training nuclei with the DNA of G1: stands in where an image shows none of them.
    """

    size_px: int
    pixel_size_um: float
    intensity: str
    median_area_um2: float
    mean: float = 0.0
    deviation: float = 1.0
    neighbours: str = "painted"
    measurements: tuple[str, ...] = ()
    measurement_means: tuple[float, ...] = ()
    measurement_deviations: tuple[float, ...] = ()
    g1_area_um2: float = 0.0

    def __post_init__(self):
        for name in ("measurements", "measurement_means", "measurement_deviations"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def field_of_view_um(self) -> float:
        """Side of the picture in the sample."""
        return self.size_px * self.pixel_size_um

    @property
    def scale(self) -> Scale:
        """Typical sizes of the training nuclei."""
        return Scale(self.median_area_um2, self.g1_area_um2, self.field_of_view_um)


@dataclass(frozen=True)
class Checkpoint:
    """A verified model folder."""

    folder: Path
    card: dict

    @property
    def name(self) -> str:
        """Name under which tables list the model."""
        return self.card["name"]

    @property
    def title(self) -> str:
        """Name of the model in words."""
        return self.card["title"]

    @property
    def version(self) -> str:
        """Version of these weights."""
        return self.card["version"]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return tuple(self.card["classes"])

    @cached_property
    def input_rule(self) -> InputRule:
        """How a nucleus becomes its input."""
        return InputRule(
            **{f.name: self.card["input"][f.name] for f in fields(InputRule) if f.name in self.card["input"]}
        )

    @cached_property
    def confidence(self) -> Confidence | None:
        """How far its calls can be trusted; None where that was never fitted."""
        stored = self.card.get("confidence")
        return None if stored is None else Confidence.from_dict(stored, self.folder / "model.json")

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / "model.onnx"

    @property
    def warning(self) -> str:
        """What to say once with every prediction; "" for a model of real cells."""
        return self.card["trained_on"].get("warning", "")


def shipped_dir() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(__file__).parent / "checkpoints"


def shipped_names() -> list[str]:
    """Return the names of the models that come with the package, the default first."""
    names = sorted(path.parent.name for path in shipped_dir().glob("*/model.json"))
    return sorted(names, key=lambda name: name != DEFAULT)


def load_checkpoint(name=DEFAULT) -> Checkpoint:
    """Find a model by name or folder, and verify its files.

    Parameters
    ----------
    name : str or Path
        A shipped model ("nagao6"), the study's word for one ("Nagao"), or a folder with a model.json.

    Returns
    -------
    Checkpoint

    Raises
    ------
    SettingError
        There is no such model; the nearest name is given.
    CheckpointError
        A file is missing, damaged or altered.
    """
    folder = Path(name).expanduser()
    if not (folder / "model.json").is_file():
        folder = shipped_dir() / _shipped_name(str(name))
    card = _read_card(folder)
    for file in FILES:
        if not (folder / file).is_file():
            raise CheckpointError(folder / file, "the file is missing", "install the model again")
        if _sha256(folder / file) != card["sha256"].get(file):
            raise CheckpointError(
                folder / file, "it is damaged or altered (its hash is not that of the card)", "install the model again"
            )
    return Checkpoint(folder, card)


def _shipped_name(name: str) -> str:
    known = shipped_names()
    wanted = ALIASES.get(name.lower(), name.lower())
    if wanted in known:
        return wanted
    if Path(name).is_dir():
        raise CheckpointError(name, "the folder has no model.json", "name the folder of a model")
    near = difflib.get_close_matches(name.lower(), [*known, *ALIASES], n=1, cutoff=0.4)
    remedy = f"did you mean {near[0]!r}? " if near else ""
    raise SettingError("model", f"{name!r} is unknown", f"{remedy}there are {', '.join(known)}")


def _read_card(folder: Path) -> dict:
    file = folder / "model.json"
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(file, "the card is missing or not readable", "install the model again") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise CheckpointError(file, f"its format is not {FORMAT}", "use the version of cellcycle that wrote it")
    missing = [key for key in _KEYS if key not in card]
    if missing:
        raise CheckpointError(file, f"the card has no {missing[0]!r}", "install the model again")
    if card.get("card_sha256") != card_sha256(card):
        raise CheckpointError(file, "the card was altered (its own hash differs)", "install the model again")
    return card


def card_sha256(card: dict) -> str:
    """Return the sha256 of a card's content, without the entry that holds it."""
    content = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_checkpoint(folder, network, rule: InputRule, card: dict) -> Checkpoint:
    """Write a model folder, whole or not at all; a folder that is there is replaced.

    Needs torch, onnx and onnxscript (the extra "train").

    Parameters
    ----------
    folder : path-like
        The model's folder; its name is the model's name unless the card has one.
    network : cellcycle.networks.Network
        Trained; takes images (N, 1, size_px, size_px), and measurements where the rule has any, after the input rule.
    rule : InputRule
    card : dict
        At least title, version, classes, network, trained_on, licence and limits.

    Returns
    -------
    Checkpoint
        Loaded again, hence verified.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".unfinished-{folder.name}-", dir=folder.parent))
    try:
        _write_network(network.eval(), rule, work)
        shape = {**asdict(rule), "field_of_view_um": round(rule.field_of_view_um, 4)}
        card = {"format": FORMAT, "name": folder.name, **card, "input": shape}
        card["sha256"] = {file: _sha256(work / file) for file in FILES}
        write_card(work, card)
        _read_card(work)
        os.chmod(work, 0o755)
        for file in work.iterdir():
            file.chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load_checkpoint(folder)


def write_card(folder, card: dict) -> None:
    """Write `model.json` with the hash of its own content, e.g. after scores were added.

    Parameters
    ----------
    folder : path-like
    card : dict
    """
    file = Path(folder) / "model.json"
    card = json.loads(json.dumps(card))
    card["card_sha256"] = card_sha256(card)
    unfinished = file.with_name(".unfinished-model.json")
    unfinished.write_text(json.dumps(card, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    os.replace(unfinished, file)


def _write_network(network, rule: InputRule, folder: Path) -> None:
    """Write the weights, and the graph freed of everything that tells where it was made."""
    import logging
    import warnings

    import onnx
    import torch
    from safetensors.torch import save_file

    weights = {key: value.detach().contiguous().cpu() for key, value in network.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    examples = {"images": torch.zeros(2, 1, rule.size_px, rule.size_px)}
    if rule.measurements:
        examples["measurements"] = torch.zeros(2, len(rule.measurements))
    n = torch.export.Dim("n")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.to(memory_format=torch.contiguous_format),
            tuple(examples.values()),
            input_names=list(examples),
            output_names=["logits"],
            dynamic_shapes={name: {0: n} for name in examples},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer):  # fmt: skip
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    onnx.save(model, folder / "model.onnx")
