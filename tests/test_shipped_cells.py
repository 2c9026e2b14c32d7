"""What the shipped models learn from: real cells kept apart, labels that stand for several phases, laboratories."""

import re

import numpy as np
import pytest
import torch

from cellcycle import evaluate
from cellcycle.checkpoint import load_checkpoint
from cellcycle.images import write_image
from cellcycle.inputs import Inputs
from cellcycle.phases import PHASES
from cellcycle.simulation import simulate_nuclei
from cellcycle.splits import marks_of
from cellcycle.study.shipped import cells, training
from cellcycle.training import NetworkClassifier
from cellcycle.training.loop import cross_entropy

pytestmark = pytest.mark.slow


def test_a_label_of_several_classes_asks_for_their_sum():
    logits = torch.tensor([[1.0, 2.0, 0.5, -1.0], [0.0, 0.0, 3.0, 1.0]])
    probabilities = torch.softmax(logits, dim=1)
    either = torch.tensor([[True, True, False, False], [False, False, True, False]])
    expected = -torch.log(torch.stack([probabilities[0, :2].sum(), probabilities[1, 2]])).mean()
    torch.testing.assert_close(cross_entropy(logits, either), expected)
    one = torch.eye(4, dtype=torch.bool)[torch.tensor([1, 2])]
    torch.testing.assert_close(cross_entropy(logits, one), cross_entropy(logits, torch.tensor([1, 2])))


def test_a_classifier_learns_phases_beside_cells_of_which_only_a_part_is_known(blobs):
    images, labels = blobs
    # Of half the disks of the three smaller sizes it is told only that they are not the largest.
    possible = np.eye(4, dtype=bool)[labels]
    possible[(np.arange(len(labels)) % 2 == 0) & (labels < 3)] = [True, True, True, False]
    settings = {"network": "nn", "training_set": "D1", "epochs": 40, "learning_rate": 2e-3}
    held_out = images[::8], labels[::8]
    model = NetworkClassifier(**settings).fit(images, possible.argmax(axis=1), held_out=held_out, possible=possible)
    assert model.history_["held_out_loss"].iloc[-1] < 1
    assert (model.predict(images) == labels).mean() > 0.9


@pytest.fixture
def real(tmp_path):
    """Return a folder with simulated cells in the place of real ones: phases, and mitoses told by eye."""
    made = simulate_nuclei({"G1": 9, "S": 6, "G2": 6, "M": 9}, 40, 5)
    by_eye = np.where(made.labels == 3, "Metaphase", "Interphase")
    for name, classes in (("jurkat", np.array(PHASES)[made.labels]), ("mitocheck", by_eye)):
        for k, (image, word) in enumerate(zip(made.images, classes, strict=True)):
            (tmp_path / name / word).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / name / word / f"{k:02d}.png", np.round(image[0] * 65535).astype(np.uint16))
    return tmp_path


def test_a_third_of_the_real_cells_is_never_learned_from(real):
    rule = training.rule_of(training.RECIPES["nagao6"])
    for name in cells.SOURCES:
        learned, kept = (cells.real_cells(name, real, is_held_out) for is_held_out in (False, True))
        assert len(kept) == 10 and len(learned) == 20
        # Classes in proportion, and no picture on both sides.
        assert np.abs(np.bincount(learned.labels) - 2 * np.bincount(kept.labels)).max() <= 3
        marks = cells.real_training_set(name, real, rule).marks
        assert set(marks) == set(map(tuple, learned.known_by().tolist()))
        known = set(np.ravel(marks))
        assert not evaluate.are_among(kept.known_by(), known).any()
        # Cut narrower or wider, and brighter.
        for others in (learned.images[:, :, 2:-2, 2:-2], np.pad(learned.images, [(0, 0)] * 2 + [(3, 3)] * 2)):
            assert evaluate.are_among(marks_of(np.sqrt(others)), known).all()
            assert evaluate.are_among(marks_of(others), known).all()


def test_the_list_of_what_was_learned_from_has_each_mark_once(tmp_path):
    evaluate.write_trained_images(tmp_path, ["b", "", "a", "b"])
    assert (tmp_path / evaluate.TRAINED_IMAGES).read_text() == "a\nb\n"
    for name in ("nagao6", "best"):
        checkpoint = load_checkpoint(name)
        n_learned = int(re.search(r"(\d+) real ones", checkpoint.card["trained_on"]["description"])[1])
        assert len(evaluate.trained_images(checkpoint)) > 2 * n_learned


def test_what_was_told_by_eye_stands_for_the_phases_it_may_be(real):
    rule = training.rule_of(training.RECIPES["nagao6"])
    learned = cells.real_training_set("mitocheck", real, rule)
    found = {tuple(row) for row in learned.possible.tolist()}
    assert found == {(True, True, True, False), (False, False, False, True)}
    known = cells.real_training_set("jurkat", real, rule).possible
    assert (known.sum(axis=1) == 1).all() and known.any(axis=0).all()
    # Each is read twice: without a pixel size, and with one.
    assert len(learned.inputs) == len(known) == 2 * 20
    # Thirty cells have no G1 peak: a rule that needs one learns nothing from them, and names none of them.
    nothing = cells.real_training_set("jurkat", real, training.rule_of(training.RECIPES["best"]))
    assert len(nothing.inputs) == 0 and nothing.marks == ()


def test_other_laboratories_differ_and_are_the_same_again():
    made = [cells.other_laboratory(number) for number in range(40)]
    assert made == [cells.other_laboratory(number) for number in range(40)]
    sizes = [size for _, size in made]
    assert min(sizes) < 40 < 100 < max(sizes)
    assert {parameters.bits for parameters, _ in made} == {8, 12, 16}
    assert {parameters.n_chromocentres > 0 for parameters, _ in made} == {True, False}
    assert cells.other_laboratory(0, seed=1) != made[0]


def test_of_dying_cells_a_model_learns_only_that_they_are_no_mitoses(monkeypatch):
    monkeypatch.setattr(cells, "N_PER_PHASE", 4)
    rule = training.rule_of(training.RECIPES["nagao6"])
    learned = cells.training_slide(cells.UNUSUAL[0], rule)
    dying = learned.possible[learned.possible.sum(axis=1) > 1]
    assert len(dying) and (dying == [True, True, True, False]).all()
    usual = cells.training_slide(cells.MICROSCOPES[0], rule)
    assert (usual.possible.sum(axis=1) == 1).all()


def test_few_real_cells_are_shown_as_often_as_many():
    few, many, none = (
        cells.Learned(Inputs.of(np.zeros((n, 1, 4, 4), np.float32)), np.ones((n, 4), bool)) for n in (3, 11, 0)
    )
    assert [len(part.inputs) for part in training.evened([few, many, none])] == [3, 3, 3, 3, 11]
    assert training.evened([]) == []


def test_unusual_pictures_are_of_many_kinds_and_the_same_again():
    made = [cells.unusual(number)[0] for number in range(40)]
    assert made == [cells.unusual(number)[0] for number in range(40)]
    for name, usual in (("section_um", 0), ("export_gamma", 1), ("export_clipped", 0)):
        assert 8 < sum(getattr(one, name) != usual for one in made) < 32
    assert min(one.export_gamma for one in made) < 0.7 and max(one.export_gamma for one in made) > 1.5


def test_a_card_tells_real_cells_and_counts_those_of_known_phase(real):
    recipe = training.RECIPES["nagao6"]
    learned = cells.real_training_set("mitocheck", real, training.rule_of(recipe))
    about = training.about_of(recipe, dict(recipe.settings), learned, len(learned.inputs))
    assert about["trained_on"]["origin"] == "simulated and real" and "fine-tune" in about["trained_on"]["warning"]
    assert about["trained_on"]["counts"] == {"G1": 0, "S": 0, "G2": 0, "M": 12}
    assert "CC BY 4.0" in about["trained_on"]["description"] and "BSD-3" in about["trained_on"]["description"]
    assert about["limits"][0] == training.REAL_TOO


def test_half_of_the_simulated_nuclei_are_shown_as_in_narrow_crops_and_keep_their_own_pixels():
    images = np.full((200, 1, 64, 64), 0.01, np.float32)
    images[:, 0, 20:44, 24:40] = 1.0
    inputs = Inputs(images, np.zeros((200, 0), np.float32))
    made = cells.framed(inputs, 3).images[:, 0]
    assert (made[:, 20:44, 24:40] == 1).all()
    is_framed = (made == 0).any(axis=(1, 2))
    assert 0.4 < is_framed.mean() < 0.6
    for image in made[is_framed]:
        inside = image > 0
        # What is left is one rectangle about the nucleus.
        assert inside.sum() == inside.any(axis=0).sum() * inside.any(axis=1).sum()
        assert inside[19:45].any(axis=1).all() and inside[:, 23:41].any(axis=0).all()
    assert (inputs.images > 0).all() and (cells.framed(inputs, 3).images[:, 0] == made).all()
