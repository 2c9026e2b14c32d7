"""Golden values: the same seed gives the same picture, the same picture the same nuclei and the same calls.

When one of them is changed on purpose, bump the version that the message names and write the new values with
`python -m tests.test_golden`; the difference of `tests/golden/*.json` then shows what moved.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from cellcycle import files, segmentation, simulation
from cellcycle.checkpoint import load_checkpoint, shipped_names
from cellcycle.images import read_plane
from cellcycle.predict import predict
from cellcycle.segmentation import measure, measure_crops, segment
from cellcycle.simulation import simulate_field, simulate_nuclei

GOLDEN = Path(__file__).parent / "golden"
SAMPLE = files.repository() / "data" / "sample"
FIELD = SAMPLE / "fields" / "fields" / "field_001.tif"
CROPS = sorted((SAMPLE / "nuclei").glob("*/*_000[1-3].png"))
PIXELS = ((0, 0), (12, 30), (24, 24), (30, 20), (40, 40))
MEASURED = ["area_px", "integrated_dna", "texture", "solidity", "edge_width_px", "background"]


def picture(image) -> dict:
    """Return a few numbers of a picture (H, W) that another picture would not share, in whole camera counts."""
    counts = np.asarray(image, dtype=float) * 65535
    return {"mean": round(counts.mean(), 2), "pixels": [round(counts[place]) for place in PIXELS]}


def simulator() -> dict:
    """Nuclei of every phase and a field, each as few numbers."""
    crops = simulate_nuclei({"G1": 2, "S": 2, "G2": 2, "M": 4}, 48, seed=1)
    colour = simulate_nuclei({"G2": 1}, 48, seed=1, stain="colour")
    field = simulate_field((240, 200), 12, seed=2)
    named = zip(crops.truth["sample_id"], crops.images[:, 0], strict=True)
    found = {name: picture(image) for name, image in named}
    found |= {f"colour {k}": picture(channel) for k, channel in enumerate(colour.images[0])}
    found["field"] = picture(field.image / 4095) | {"nuclei": int(field.labels.max())}
    for name in ("dna_content", "area_um2"):
        found[name] = np.round(crops.truth[name].to_numpy(), 3).tolist()
    return {"version": simulation.VERSION} | found


def segmented() -> dict:
    """Measurements of the sample field's nuclei, every tenth in full, and of twelve sample crops."""
    plane = read_plane(FIELD)
    labels = segment(plane.pixels, plane.pixel_size_um)
    table = measure(plane.pixels, labels, plane.pixel_size_um)
    crops = measure_crops(np.stack([read_plane(file).pixels for file in CROPS])[:, None])
    found = {"nuclei": int(labels.max()), "area_px": table["area_px"].astype(int).tolist()}
    for name, rows in (("field", table[::10]), ("crops", crops)):
        found[name] = {c: [float(f"{v:.6g}") for v in rows[c]] for c in MEASURED}
    return {"version": segmentation.VERSION} | found


def predicted(model: str) -> dict:
    """Calls of the sample field by one model, and the probabilities of every tenth nucleus and of twelve crops."""
    field, crops = predict(FIELD, model), predict(CROPS, model)
    scores = [c for c in field.columns if c.startswith("p_")]
    found = {"version": load_checkpoint(model).version, "field_calls": " ".join(call or "-" for call in field["call"])}
    for name, rows in (("field", field.iloc[::10]), ("crops", crops)):
        found[name] = [[round(v, 4) if v == v else None for v in row] for row in rows[scores].to_numpy().tolist()]
    return found


def golden(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def assert_same(found: dict, expected: dict, rtol: float, atol: float, remedy: str) -> None:
    """Compare two results number by number; a difference names its place and says what to do if it was meant."""
    assert found.keys() == expected.keys(), remedy
    for name, value in found.items():
        if isinstance(value, dict):
            assert_same(value, expected[name], rtol, atol, f"{name}: {remedy}")
        elif isinstance(value, str):
            assert value == expected[name], f"{name}: {remedy}"
        else:
            pair = (np.array(v, dtype=float) for v in (value, expected[name]))
            np.testing.assert_allclose(*pair, rtol, atol, err_msg=f"{name}: {remedy}")


def advice(what: str) -> str:
    return f"if this was meant, bump {what} and run: python -m tests.test_golden"


def test_the_same_seed_gives_the_same_pictures():
    # A rounded camera count may fall to the other side on another processor.
    assert_same(simulator(), golden("simulator"), 1e-4, 17, advice("simulation.VERSION"))


@pytest.mark.slow
def test_the_same_picture_gives_the_same_nuclei_and_measurements():
    assert_same(segmented(), golden("segmentation"), 1e-3, 1e-6, advice("segmentation.VERSION"))


@pytest.mark.slow
@pytest.mark.parametrize("model", shipped_names())
def test_the_sample_images_keep_their_calls_and_probabilities(model):
    found, expected = predicted(model), golden("predictions")[model]
    calls, before = (np.array(d.pop("field_calls").split()) for d in (found, expected))
    assert_same(found, expected, 0, 1e-3, advice(f"the version of the model {model}"))
    # Of two phases that are equally likely, rounding may take either.
    assert len(calls) == len(before) and (calls != before).sum() <= 1, advice(f"the version of the model {model}")


def test_a_golden_value_that_moved_is_told_with_what_to_do():
    expected = golden("simulator")
    found = expected | {"field": expected["field"] | {"pixels": [p + 40 for p in expected["field"]["pixels"]]}}
    with pytest.raises(AssertionError, match=r"pixels: field: if this was meant, bump simulation\.VERSION"):
        assert_same(found, expected, 1e-4, 17, advice("simulation.VERSION"))


if __name__ == "__main__":
    makers = {
        "simulator": simulator,
        "segmentation": segmented,
        "predictions": lambda: {name: predicted(name) for name in sorted(shipped_names())},
    }
    GOLDEN.mkdir(exist_ok=True)
    for name, make in makers.items():
        # One line a list: a difference shows which nucleus moved.
        text = json.dumps(make(), indent=1)
        text = re.sub(r"\[[^\[\]]*\]", lambda m: " ".join(m.group().split()), text)
        (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")
