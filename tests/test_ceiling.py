import numpy as np
import pytest

from cellcycle import metrics, summaries
from cellcycle.study import load_profile
from cellcycle.study.ceiling import ceiling_record


@pytest.mark.slow
def test_the_ceiling_is_recorded_in_the_folds_of_the_models(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    profile = load_profile("smoke")
    dataset = profile.load_dataset()
    record = ceiling_record(profile, dataset)
    (baseline,) = profile.cross_validate(dataset, [profile.config("dna-content")])
    assert list(record.predictions["sample_id"]) == list(baseline.predictions["sample_id"])
    assert isinstance(summaries.compare(record, baseline), metrics.Estimate)
    recall = metrics.recall(metrics.confusion_matrix(record.labels, record.predicted, 4))
    assert recall[3] == 1
    assert recall[:3].min() < 1
    assert ceiling_record(profile, dataset).folder == record.folder


@pytest.mark.slow
def test_real_cells_have_no_known_ceiling():
    profile = load_profile("smoke")
    dataset = profile.load_dataset().select(np.arange(20))
    from dataclasses import replace

    assert ceiling_record(profile, replace(dataset, truth=None)) is None
