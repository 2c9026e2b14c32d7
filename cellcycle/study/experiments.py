"""The study's experiments: which models each table and figure compares, under any profile.

A notebook runs its experiment and shows it; notebook 13 finds the same runs again in the records.
"""

from cellcycle.augmentation import STUDY_TRANSFORMS
from cellcycle.balancing import TRAINING_SETS
from cellcycle.models import RESNET_DEPTHS
from cellcycle.study.profiles import Profile

TABLE_2_MODELS = {"logistic": "LR", "nn": "NN", "resnet8": "ResNet 8", "nagao6": "Nagao 6"}
BASELINE = {"dna-content": "DNA content"}


def baseline(profile: Profile) -> list[dict]:
    """The classical DNA-content method, the line every model must beat."""
    return [profile.config("dna-content")]


def training_sets(profile: Profile, model: str) -> list[dict]:
    """One model on D1, D2 and D3: a row of Table II, and Figures 3, 5 and 6."""
    return [profile.config(model, kind) for kind in TRAINING_SETS]


def table_2(profile: Profile) -> list[dict]:
    """All of Table II: four models on three training sets."""
    return [config for model in TABLE_2_MODELS for config in training_sets(profile, model)]


def table_3(profile: Profile) -> list[dict]:
    """All of Table III: ResNets of three depths with residual and plain blocks, on D3."""
    return [profile.config(f"resnet{depth}{block}") for depth in RESNET_DEPTHS for block in ("", "-plain")]


def single_transforms(profile: Profile) -> list[dict]:
    """Figure 4: the Nagao network on D2 made with no transform, each one alone, and all five."""
    chosen = [(), *((t,) for t in STUDY_TRANSFORMS), STUDY_TRANSFORMS]
    # Copies that no transform changes would be the images again.
    copies = [profile.copies if t else 0 for t in chosen]
    return [profile.config("nagao6", "D2", transforms=t, copies=n) for t, n in zip(chosen, copies, strict=True)]


def design_space(profile: Profile) -> list[dict]:
    """Figure 7: Nagao networks of several depths and widths, on D3."""
    return [
        profile.config(f"nagao{stages}", width=width)
        for stages in profile.nagao_stages
        for width in profile.nagao_widths
    ]


def tuning_grid(profile: Profile) -> list[dict]:
    """Section III-F: learning rate and batch size of the Nagao network, on D3."""
    return [
        profile.config("nagao6", learning_rate=rate, batch_size=batch)
        for rate in profile.learning_rates
        for batch in profile.batch_sizes
    ]


def transfer(profile: Profile, pretrained) -> list[dict]:
    """Section III-E: the Nagao network from scratch and fine-tuned, on growing shares of the labels."""
    return [
        profile.config("nagao6", pretrained=start, train_share=share)
        for share in profile.label_shares
        for start in (None, pretrained)
    ]
