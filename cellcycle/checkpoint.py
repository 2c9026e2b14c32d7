"""A trained model in a folder: a card, its weights, and a graph that runs without torch.

- `model.json`: the card. What it is, what it was trained on, its input rule, scores, limits and licence, and
  the sha256 of the other two files.
- `model.onnx`: the graph for ONNX Runtime from inputs by the rule, images (N, C, S, S) and, if a member takes any,
  measurements (N, M), to logits (N, K). It contains scaling, encoding and positions.
- `weights.safetensors`: the weights that the graph does not hold; both are needed to fine-tune or explain the model.

Nothing is pickled, and a file whose hash differs from that in the card is refused.
"""

import contextlib
import copy
import difflib
import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cellcycle.card import FORMAT, NETWORK_SETTINGS, REMEDY, as_json, card_sha256, external_files, read_card
from cellcycle.confidence import Confidence
from cellcycle.errors import CheckpointError, SettingError
from cellcycle.files import FULL, sha256_of, whole_file, whole_folder
from cellcycle.graphs import check_hash, open_graph
from cellcycle.inputs import InputRule

# The model that needs only one picture, and the one to use if the G1 peak is known.
DEFAULT, ANCHORED = "nagao6", "best"
# Names of the models in the study.
ALIASES = {"nagao": "nagao6", "resnet": "resnet8", "resnet-8": "resnet8"}
FILES = ("weights.safetensors", "model.onnx")


@dataclass(frozen=True)
class Checkpoint:
    """A verified model folder."""

    folder: Path
    card: dict

    def __hash__(self) -> int:
        return hash((self.folder, self.card["card_sha256"]))

    @property
    def name(self) -> str:
        """Name of the model in tables."""
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
        """The rule by which a nucleus becomes an input."""
        return InputRule.from_dict(self.card["input"])

    @cached_property
    def confidence(self) -> Confidence | None:
        """Calibration and other confidence of its calls; None if it was never fitted."""
        stored = self.card.get("confidence")
        return None if stored is None else Confidence.from_dict(stored, self.folder / "model.json")

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / "model.onnx"

    def classifier(self):
        """Return a fitted `NetworkClassifier` or `DnaContentClassifier`, to explain or train further; needs torch."""
        import onnx
        from safetensors.torch import load_file

        from cellcycle.networks.graph import weights_of
        from cellcycle.training import make_estimator

        settings = dict(self.card["network"])
        channels = settings.pop("channels")
        weights = weights_of(onnx.load(self.graph), load_file(self.folder / "weights.safetensors"))
        try:
            made = make_estimator(settings.pop("network"), **settings)
            return made.restore(weights, channels, self.input_rule, len(self.classes))
        except (TypeError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(self.folder / "weights.safetensors", "weights of another network", REMEDY) from error

    @property
    def warning(self) -> str:
        """Warning of the card, to be shown once per prediction run; "" if it has none, as for real cells."""
        return self.card["trained_on"].get("warning", "")


def shipped_dir() -> Path:
    """Return the folder of the models that come with the package."""
    return Path(__file__).parent / "checkpoints"


def shipped_names() -> list[str]:
    """Return the names of the models that come with the package, the default first."""
    names = sorted(path.parent.name for path in shipped_dir().glob("*/model.json"))
    return sorted(names, key=lambda name: name != DEFAULT)


def load_checkpoint(model=DEFAULT) -> Checkpoint:
    """Return a model by name or folder after verifying its files; a `Checkpoint` is returned as it is.

    The name is that of a shipped model ("nagao6"), or its name in the study ("Nagao"). An unknown name, and one that is
    also that of a model folder here, is a `SettingError`; a missing, damaged or altered file a `CheckpointError`.
    """
    if isinstance(model, Checkpoint):
        return model
    if not isinstance(model, str | Path):
        raise SettingError("model", f"a {type(model).__name__} is not a model", "give the name or folder of one")
    folder = _folder_of(model)
    card = read_card(folder / "model.json", FILES)
    for file in FILES:
        if not (folder / file).is_file():
            raise CheckpointError(folder / file, "the file is missing", "install the model again")
        check_hash(folder / file, card)
    # An absolute path, because the workers of a cluster have other working folders.
    found = Checkpoint(folder.absolute(), card)
    if external_files(found.graph.read_bytes()):
        # This also refuses a network with a part called "location"; no known one has such a part.
        finding = 'it keeps weights in other files, which no hash covers, or has a part called "location"'
        raise CheckpointError(found.graph, finding, REMEDY)
    if found.confidence is not None and len(found.confidence.thresholds) != len(found.classes):
        raise CheckpointError(folder / "model.json", "the classes of its confidence are not those of the card", REMEDY)
    return found


def shipped_name(word: str) -> str:
    """Return the name of the shipped model for a name or alias in any case; "" if there is none."""
    name = ALIASES.get(word.lower(), word.lower())
    return name if name in shipped_names() else ""


def _folder_of(name) -> Path:
    path, shipped, known = Path(name).expanduser(), shipped_name(str(name)), shipped_names()
    folder = path.parent if path.name == "model.json" else path
    if os.path.isfile(folder / "model.json"):
        if shipped and isinstance(name, str):
            raise SettingError("model", f"{name!r} is a model of cellcycle and a folder here", f"give ./{name} for it")
        return folder
    if shipped:
        return shipped_dir() / shipped
    if os.path.exists(path):
        raise CheckpointError(name, "no model.json lies in it", "name the folder of a model, unpacked")
    near = "".join(f"did you mean {n!r}? " for n in difflib.get_close_matches(path.name.lower(), [*ALIASES, *known], 1))
    remedy = f"{near}there are {', '.join(known)}, or name the folder of yours"
    raise SettingError("model", f"{str(name)!r} is unknown", remedy)


def save_checkpoint(folder, classifier, rule: InputRule, about: dict, more=lambda work: None) -> Checkpoint:
    """Write a fitted classifier to a model folder, completely or not at all; return the verified `Checkpoint`.

    A model in the folder is replaced; other files there, e.g. of an evaluation, stay. It needs torch, onnx and
    onnxscript (the extra "train"). Weights are rounded to half precision: probabilities change by about 0.001.

    The classifier must be fitted on inputs by the rule, with labels 0 to K - 1 or the names of the classes, otherwise
    a `SettingError` is raised. `about` holds at least title, version and licence, the lists classes and limits, and the
    dictionary trained_on; the name is by default that of the folder. `more` writes further files into the unfinished
    folder; the card holds their hashes, too.
    """
    if not hasattr(classifier, "model_"):
        raise SettingError("classifier", f"{type(classifier).__name__} is not fitted", "fit it, then save it")
    folder, order = Path(folder), _order(classifier.classes_.tolist(), list(about.get("classes") or ()))
    for name, value in (("size_px", classifier.size_px_), ("measurements", classifier.measurements_)):
        # A network that reads no measurements can have a rule with measurements.
        if value not in ((), getattr(rule, name)):
            raise SettingError(f"rule.{name}", f"not {value!r} as in training", "give the rule of the inputs of fit")
    with whole_folder(folder, replace=True) as work:
        _write_model(classifier, rule, order, work)
        more(work)
        settings = classifier.get_params()
        network = {name: settings[name] for name in (*NETWORK_SETTINGS, "regularisation") if name in settings}
        network = {"network": "dna-content", "channels": classifier.channels_} | network
        card = {"format": FORMAT, "name": folder.name, **about, "input": rule.to_dict(), "network": network}
        card["sha256"] = {file.name: sha256_of(file) for file in sorted(work.iterdir())}
        write_card(work, card)
        try:
            load_checkpoint(work)
        except CheckpointError as error:
            raise SettingError("about", error.finding, "say it otherwise") from error
        _keep_others(folder, work)
    return load_checkpoint(folder)


def _order(known: list, names: list) -> list[int]:
    """Return the index (K,) of each class of a card among the classes of the classifier, which are names or numbers."""
    numbers = list(range(len(names)))
    if known != numbers and (len(known) != len(names) or set(known) != set(names)):
        raise SettingError("classes", f"fitted on {known}, named {names}", "fit on these names, or on 0 to K - 1")
    return numbers if known == numbers else [known.index(name) for name in names]


def _keep_others(folder: Path, work: Path) -> None:
    """Copy from a folder to `work` the files that are not of the model, except for names that `work` has."""
    own = {"model.json"}
    with contextlib.suppress(CheckpointError):
        own |= read_card(folder / "model.json", FILES)["sha256"].keys()
    for other in folder.iterdir() if folder.is_dir() else ():
        if other.name not in own and not (work / other.name).exists():
            try:
                if other.is_dir() and not other.is_symlink():
                    shutil.copytree(other, work / other.name, symlinks=True)
                else:
                    shutil.copy2(other, work / other.name, follow_symlinks=False)
            except (PermissionError, shutil.SpecialFileError, shutil.Error) as error:
                # The error of `copytree` holds only texts, so find out from these whether the disk is full.
                if number := next((n for n in FULL if os.strerror(n) in str(error)), None):
                    raise OSError(number, os.strerror(number), str(work)) from error
                finding = f"{other.name} in it, which is not of the model, cannot be read to be kept"
                raise SettingError(folder, finding, "move it elsewhere, then run it again") from error


def write_card(folder, card: dict) -> None:
    """Write `model.json` with the hash of its content, e.g. after scores were added."""
    card = as_json(card)
    card["card_sha256"] = card_sha256(card)
    with whole_file(Path(folder) / "model.json") as work:
        work.write_text(json.dumps(card, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def _write_model(classifier, rule: InputRule, order: list[int], folder: Path) -> None:
    """Write weights and graph in half precision, with classes in an `order` (K,); refuse logits that are not finite."""
    import onnx
    import torch
    from safetensors.torch import save

    from cellcycle.networks.graph import not_held, onnx_graph, store_in_half

    model = copy.deepcopy(classifier.model_).cpu().eval().to(memory_format=torch.contiguous_format)
    for weight in model.parameters():
        weight.data = weight.detach().half().float()
    model.reorder(order)
    examples = {"images": torch.zeros(2, classifier.channels_, rule.size_px, rule.size_px)}
    if model.reads_measurements:
        examples["measurements"] = torch.zeros(2, len(rule.measurements))
    n = torch.export.Dim("n")
    graph = onnx_graph(model, examples, "logits", {name: {0: n} for name in examples})
    trained = model.state_dict()
    store_in_half(graph.graph, {name: values.numpy() for name, values in trained.items()})
    onnx.save(graph, folder / "model.onnx")
    (logits,) = open_graph(folder / "model.onnx").run(None, {name: zeros.numpy() for name, zeros in examples.items()})
    if not np.isfinite(logits).all():
        raise SettingError("classifier", "its logits are not finite", "train it again, with a lower learning rate")
    # Not written by safetensors, whose error would not say that the disk is full.
    (folder / "weights.safetensors").write_bytes(save(not_held(graph, trained)))
