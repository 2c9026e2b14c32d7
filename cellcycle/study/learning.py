"""Learning curves: how a score grows with the number of labelled nuclei, up to ten times the study's."""

from joblib import Parallel, delayed, parallel_config

from cellcycle.datasets import NucleusDataset, make_simulated
from cellcycle.results import Record
from cellcycle.study.domains import across
from cellcycle.study.experiments import TABLE_2_MODELS, best
from cellcycle.study.profiles import STUDY_IMAGES, Profile

# Test nuclei, as a multiple of the study's set.
_TEST_SHARE = 2
# Added to the profile's seed, so that neither set shares a nucleus or a slide with the study's.
_TRAIN_SEED, _TEST_SEED = 1000, 2000


def learning_sets(profile: Profile) -> tuple[list[NucleusDataset], NucleusDataset]:
    """Return simulated training sets of `profile.learning_sizes` and one test set, all in the study's proportions.

    Smaller training sets are parts of the largest. The test nuclei come from slides of their own.
    """
    from cellcycle.simulation import STUDY_COUNTS

    def scaled(factor: float, seed: int, name: str) -> NucleusDataset:
        counts = {phase: max(2, round(n * factor)) for phase, n in STUDY_COUNTS.items()}
        return make_simulated(name, counts, profile.size_px, profile.seed + seed)

    sizes = profile.learning_sizes
    largest = scaled(max(sizes) / STUDY_IMAGES, _TRAIN_SEED, "simulated, more labels")
    n_test = min(_TEST_SHARE * STUDY_IMAGES, profile.max_images or _TEST_SHARE * STUDY_IMAGES)
    test = scaled(n_test / STUDY_IMAGES, _TEST_SEED, "simulated, other slides")
    return [largest.subsample(n, profile.seed, at_least=2) for n in sizes], test


def learning_configs(profile: Profile) -> dict[str, dict]:
    """Return what is trained on each size: the classical method, the simplest and the best model, and `best`."""
    configs = {"DNA content": profile.config("dna-content")}
    configs |= {TABLE_2_MODELS[m]: profile.config(m) for m in ("logistic", "nagao6")}
    # One network instead of several: the curve's shape is the question, not its last hundredth.
    return configs | {"best, one network": best(profile, members=1)}


def learning_curves(profile: Profile) -> dict[str, list[Record]]:
    """Train each model on each size, once, and test all on the same nuclei; records are found again.

    Returns
    -------
    dict of str to list of Record
        By model; in the order of `profile.learning_sizes`.
    """
    sets, test = learning_sets(profile)
    configs = learning_configs(profile)
    tasks = [(name, training) for name in configs for training in sets]
    with parallel_config(backend="loky", inner_max_num_threads=1):
        records = Parallel(n_jobs=profile.n_jobs)(
            delayed(across)(training, test, _completed(profile, training, configs[name]), profile.results_dir())
            for name, training in tasks
        )
    n = len(sets)
    return {name: records[i * n : (i + 1) * n] for i, name in enumerate(configs)}


def _completed(profile: Profile, training: NucleusDataset, config: dict) -> dict:
    """Return a configuration with its epochs: small sets are seen more often, so that all get enough steps."""
    made = profile.completed(training, config)
    if "epochs" in made and len(training) < STUDY_IMAGES:
        made["epochs"] = round(made["epochs"] * STUDY_IMAGES / len(training))
    return made
