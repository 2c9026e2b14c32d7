"""Train the network that finds nuclei on outlined fields, real and simulated, and score it on held-out kinds of field.

`make checkpoints NAMES=finder` first trains without the held-out kinds, scores on those, then continues with all
fields: the scores of the card are those of the network before the second step.
"""

import copy
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from cellcycle.files import sha256_of, whole_folder
from cellcycle.metrics import bootstrap
from cellcycle.networks.graph import in_eight_bits, onnx_graph
from cellcycle.segmentation import finder, matching, segment
from cellcycle.simulation import VERSION as SIMULATOR
from cellcycle.training.loop import AdamW, has_bfloat16
from cellcycle.training.outlined import (
    N_DRAWN,
    N_SIMULATED,
    SIMULATED_SHARE,
    Atlas,
    OutlinedField,
    drawn_fields,
    random_crops,
    real_fields,
    simulated_fields,
    targets,
)

STEPS, MORE_STEPS, BATCH, MEMORY = 9500, 9000, 48, 0.999
LEARNING_RATE, MORE_LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1.5e-3, 1e-3
SEED, N_HELD_OUT, MOST_OF_A_KIND = 3, 72, 20
# Number of fields, one crop each, that calibrate the 8-bit quantisation.
N_CALIBRATING = 64
CHANNELS = (16, 32, 64, 96)


class UNet(nn.Module):
    """A U-Net from fields (N, 1, H, W) float32, typical nuclei at about 1, to logits (N, 3, H, W); 8 divides H and W.

    It reads intensities clipped a little above those of nuclei, and their asinh, in which faint nuclei stand out.
    """

    def __init__(self):
        super().__init__()
        above = (2, *CHANNELS[:-1])
        self.down = nn.ModuleList(_block(i, o) for i, o in zip(above, CHANNELS, strict=True))
        self.up = nn.ModuleList(_block(i + o, i) for i, o in pairwise(CHANNELS))
        self.head = nn.Conv2d(CHANNELS[0], 3, 1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        """Return logits: nucleus, depth, touching."""
        faint = torch.asinh(fields.clamp(-0.02, 4.0) / 0.02) / 4.6
        fields, seen = torch.cat([fields.clamp(0.0, 1.2), faint], 1), []
        for level, block in enumerate(self.down):
            fields = block(functional.max_pool2d(fields, 2) if level else fields)
            seen.append(fields)
        for block, finer in zip(reversed(self.up), reversed(seen[:-1]), strict=True):
            wider = functional.interpolate(fields, scale_factor=2, mode="bilinear", align_corners=False)
            fields = block(torch.cat([finer, wider], 1))
        return self.head(fields)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    layers = []
    for n in (n_in, n_out):
        layers += [nn.Conv2d(n, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)


def loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the sum of cross-entropy and overlap loss of nuclei, deviation of depth, and cross-entropy of touching."""
    nucleus, depth, touching = truth.unbind(1)
    touching = touching.clamp(0, 1)
    total = functional.binary_cross_entropy_with_logits(logits[:, 0], nucleus, weight=1 + 4 * touching)
    said = torch.sigmoid(logits[:, 0])
    overlap = (2 * (said * nucleus).sum((1, 2)) + 20) / ((said + nucleus).sum((1, 2)) + 20)
    deviation = functional.smooth_l1_loss(torch.sigmoid(logits[:, 1]), depth, beta=0.1, reduction="none")
    total = total + 0.5 * (1 - overlap).mean() + 4 * (deviation * (0.3 + nucleus + 2 * touching)).mean()
    borders = functional.binary_cross_entropy_with_logits(logits[:, 2], touching, weight=1 + 6 * touching)
    return total + 0.5 * borders


def fit(network: UNet, fields: list[OutlinedField], steps: int, rate: float, seed: int, device="cpu") -> UNet:
    """Train on random crops; return the network with the running mean of the weights, on the CPU."""
    rng = np.random.default_rng(seed)
    kinds = [field.kind for field in fields]
    counts = {kind: kinds.count(kind) for kind in kinds}
    shares = np.array([0.0 if kind == "simulated" else 1 / math.sqrt(counts[kind]) for kind in kinds])
    shares *= (1 - SIMULATED_SHARE) / max(shares.sum(), 1e-9)
    shares[np.array(kinds) == "simulated"] = SIMULATED_SHARE / counts["simulated"]
    shares /= shares.sum()
    atlas = Atlas([targets(field) for field in fields], device)
    network = network.train().to(device, memory_format=torch.channels_last)
    mean, optimiser = copy.deepcopy(network), AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps)) + 1e-6
        images, truth = random_crops(atlas, rng.choice(len(fields), BATCH, p=shares), rng)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu" or has_bfloat16()):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        total = loss(logits.float(), truth)
        optimiser.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimiser.step()
        _follow(mean, network, 1 - min(MEMORY, 1 - 1 / (step + 2)))
        if step % 500 == 0:
            print(f"step {step} of {steps}: loss {total.item():.3f}", flush=True)
    return mean.eval().cpu()


@torch.no_grad()
def _follow(mean: nn.Module, network: nn.Module, share: float) -> None:
    pairs = list(zip(mean.state_dict().values(), network.state_dict().values(), strict=True))
    kept, new = zip(*(pair for pair in pairs if pair[0].dtype.is_floating_point), strict=True)
    torch._foreach_lerp_(kept, new, share)


def held_out_kinds(fields: list[OutlinedField]) -> set[str]:
    """Return random kinds to hold out, each of at most `MOST_OF_A_KIND` fields, in all at most `N_HELD_OUT` fields."""
    kinds = sorted({field.kind for field in fields})
    held, n = set(), 0
    for k in np.random.default_rng(SEED).permutation(len(kinds)):
        count = sum(field.kind == kinds[k] for field in fields)
        if count <= MOST_OF_A_KIND and n + count <= N_HELD_OUT:
            held.add(kinds[k])
            n += count
    return held


def save(network: UNet, about: dict, fields: list[OutlinedField], folder: Path = finder.FOLDER) -> None:
    """Write the graph in 8 bits, calibrated on crops of the fields, and the card with `about` and its hash."""
    import onnx

    network = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)
    whole = nn.Sequential(network, nn.Sigmoid()).eval()
    sides = {2: 8 * torch.export.Dim("h", min=2, max=512), 3: 8 * torch.export.Dim("w", min=2, max=512)}
    graph = onnx_graph(whole, {"field": torch.zeros(1, 1, 64, 72)}, "maps", [sides])
    rng = np.random.default_rng(SEED)
    chosen = [fields[k] for k in rng.choice(len(fields), min(N_CALIBRATING, len(fields)), replace=False)]
    crops, _ = random_crops(Atlas([targets(field) for field in chosen]), np.arange(len(chosen)), rng)
    graph = in_eight_bits(graph, ({"field": crop[None].numpy()} for crop in crops))
    with whole_folder(folder, replace=True) as work:
        onnx.save(graph, work / "model.onnx")
        card = about | {"sha256": {"model.onnx": sha256_of(work / "model.onnx")}}
        (work / "model.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def make_finder(root: Path) -> None:
    """Train, score and write the network; `root` holds `fields` and `fields_more`, with images and labels.

    Training uses a GPU if there is one: it takes minutes, on a CPU many hours.
    """
    torch.manual_seed(SEED)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    real, simulated = real_fields(root), simulated_fields() + drawn_fields()
    held = held_out_kinds(real)
    seen = [field for field in real if field.kind not in held]
    network = fit(UNet(), seen + simulated, STEPS, LEARNING_RATE, SEED, device)
    about = card_of(real, held)
    save(network, about, seen + simulated)
    finder._session.cache_clear()
    unseen = [field for field in real if field.kind in held]
    about["scores"] = {segmentation: score(unseen, segmentation) for segmentation in ("trained", "classical")}
    everything = real + simulated
    save(fit(network, everything, MORE_STEPS, MORE_LEARNING_RATE, SEED + 1, device), about, everything)


def score(fields: list[OutlinedField], segmentation: str) -> dict:
    """Find the nuclei of fields and return the scores against their outlines; see `found_scores`."""
    counts = []
    for field in fields:
        found = segment(field.pixels, segmentation=segmentation)
        counts.append([matching.matches(field.labels, found, iou) for iou in matching.IOUS])
    return found_scores(counts, [field.kind for field in fields])


def found_scores(counts, kinds=None) -> dict:
    """Return scores from the `matches` (F, 3, 3) of F fields at `matching.IOUS`: means over fields, intervals by kinds.

    F1 at each IoU; at the first IoU also `ap_0.5` (right / (right + surplus + missed)) and the fraction of fields with
    an F1 `below_0.8`; each with its 95 % bootstrap interval. Also the number of fields and of nuclei at the first IoU.
    """
    counts = np.asarray(counts, dtype=float)
    right, wrong = counts[..., 0], counts[..., 1] + counts[..., 2]
    f1 = np.where(right + wrong > 0, 2 * right / np.maximum(2 * right + wrong, 1), 1.0)
    ap = np.where(right + wrong > 0, right / np.maximum(right + wrong, 1), 1.0)
    columns = {f"f1_{iou}": f1[:, k] for k, iou in enumerate(matching.IOUS)}
    columns |= {"ap_0.5": ap[:, 0], "below_0.8": f1[:, 0] < 0.8}
    found = {"n_fields": len(counts)}
    for name, column in columns.items():
        mean = bootstrap(lambda weights, column=column: weights @ column / weights.sum(), len(column), kinds)
        found[name] = [round(value, 3) for value in (mean.value, mean.low, mean.high)]
    return found | dict(zip(("right", "surplus", "missed"), counts[:, 0].sum(axis=0).astype(int).tolist(), strict=True))


def card_of(fields: list[OutlinedField], held: set[str]) -> dict:
    """Return the card without scores."""
    n_held = sum(field.kind in held for field in fields)
    return {
        "name": "finder",
        "version": "3",
        "title": "Nuclei of fluorescence fields",
        "trained_on": f"{len(fields)} fields of BBBC038 (Caicedo et al. 2019, CC0) with outlines by hand, and "
        f"{N_SIMULATED} fields of cellcycle.simulation {SIMULATOR} and {N_DRAWN} of drawn ellipses",
        "licence": "BSD-3-Clause",
        "held_out": f"{n_held} fields of {len(held)} kinds, which the network had not seen when it was scored; it went "
        "on to learn from them",
        "training": {"steps": STEPS, "more_steps": MORE_STEPS, "batch": BATCH, "learning_rate": LEARNING_RATE},
        "limits": [
            "Outlines follow those drawn by hand on 8-bit pictures; tissue and cells in suspension were few.",
            "Nuclei much smaller than 7 px or larger than 200 px are not seen at the size of training.",
        ],
    }
