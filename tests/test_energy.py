import re

import numpy as np
import pytest

from cellcycle import cli, paths, results
from cellcycle.checkpoint import load_checkpoint, shipped_names
from cellcycle.dna_content import fit_g1_peak
from cellcycle.study import energy

ROOT = paths.repository()
PAGE = ROOT / "docs" / "ethics.md"
DATA = {"name": "simulated", "origin": "simulated", "identity": "x", "classes": ["G1", "S"], "counts": [1, 1]}


@pytest.fixture
def records(tmp_path):
    """Two networks of one family, another, and the ceiling, which takes no time: 3 hours of one core in all."""
    table = results.prediction_table(["a", "b"], None, ["G1", "S"], np.eye(2), ["G1", "S"])
    times = {"nagao6": (3000.0, 600.0), "nagao4": (3600.0, 0.0), "nn": (1800.0, 1800.0), "ceiling": (0.0, 0.0)}
    for model, (train_s, predict_s) in times.items():
        results.write_run(tmp_path, {"model": model}, DATA, table, train_s=train_s, predict_s=predict_s)
    return tmp_path


def test_hours_add_up_by_family_training_and_prediction(records):
    table = energy.core_hours(results.load_runs(records))
    assert list(table.index) == ["nagao", "nn"]
    assert table["runs"].to_list() == [2, 1]
    assert table["core_h"].to_list() == pytest.approx([2.0, 1.0])


def test_the_block_states_both_ends_of_the_range(records):
    block = energy.energy_block(records)
    assert "| nagao | 2 | 2.00 | 10.0 | 30.0 |" in block
    assert "| all | 3 | 3.00 | 15.0 | 45.0 |" in block
    # 92.98 Wh warm a litre to boiling.
    assert "5 to 15 W" in block
    assert "warms 0.16 to 0.48 litres" in block


def test_without_records_the_block_says_so(tmp_path):
    assert "No run is recorded" in energy.energy_block(tmp_path)
    assert "No run is recorded" in energy.energy_block(tmp_path / "missing")


def test_the_committed_block_follows_from_the_committed_records():
    kept = PAGE.read_text(encoding="utf-8").split("<!-- ENERGY -->")[1].split("<!-- /ENERGY -->")[0].strip()
    assert kept == energy.energy_block(), "run cellcycle.study.energy.refresh_ethics()"


def test_files_and_commands_that_the_assessment_names_exist():
    text = PAGE.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert len(links) > 5
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
    named = {command.name or command.callback.__name__: command for command in cli.app.registered_commands}
    groups = {group.name for group in cli.app.registered_groups}
    called = set(re.findall(r"`cellcycle (\w+)", text))
    assert {"predict", "models", "study", "data"} <= called <= set(named) | groups
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert set(re.findall(r"`make (\w+)", text)) <= targets


def test_models_without_a_dna_anchor_promise_too_much_on_real_cells():
    cards = [load_checkpoint(name).card for name in shipped_names()]
    unanchored = [card for card in cards if card["input"]["intensity"] == "per-image"]
    assert unanchored
    for card in unanchored:
        record = results.read_run(ROOT / "data" / "results" / "checkpoints" / card["scores"]["jurkat"]["record"])
        right = (record.predicted == record.labels).mean()
        assert record.scores.max(axis=1).mean() > right + 0.02, f"{card['name']}: change what docs/ethics.md says"


@pytest.mark.parametrize("seed", range(3))
def test_cells_that_copy_their_dna_again_pass_for_a_growing_culture_unless_untreated_ones_are_added(seed):
    rng = np.random.default_rng(seed)

    def culture(n_2, n_2_to_4, n_4, n_4_to_8, n_8):
        copies = [np.full(n_2, 2.0), rng.uniform(2, 4, n_2_to_4), np.full(n_4, 4.0)]
        copies = np.concatenate([*copies, rng.uniform(4, 8, n_4_to_8), np.full(n_8, 8.0)])
        return copies * rng.normal(1, 0.1, len(copies))

    treated, untreated = culture(10, 10, 200, 40, 40), culture(160, 90, 50, 0, 0)
    alone, together = fit_g1_peak(treated), fit_g1_peak(np.concatenate([treated, untreated]))
    assert alone.is_usable
    assert alone.position == pytest.approx(4, rel=0.1)
    assert together.position == pytest.approx(2, rel=0.1)
