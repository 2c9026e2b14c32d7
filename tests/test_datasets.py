import shutil

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from cellcycle.datasets import NucleusDataset, is_named, load_dataset, make_simulated
from cellcycle.datasets.simulated import load_simulated
from cellcycle.errors import DataError, SettingError


def nucleus(seed, size=40, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    disk = np.hypot(y - size / 2, x - size / 2) < rng.uniform(0.2, 0.4) * size
    top = np.iinfo(dtype).max
    return np.clip(0.05 * top + 0.5 * top * disk + rng.normal(0, 0.02 * top, (size, size)), 0, top).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """A folder of two phases with three images each, 8-bit PNG."""
    for k, phase in enumerate(("M", "G1")):
        (tmp_path / "cells" / phase).mkdir(parents=True)
        for i in range(3):
            Image.fromarray(nucleus(10 * k + i)).save(tmp_path / "cells" / phase / f"{i}.png")
    return tmp_path / "cells"


@pytest.mark.slow
def test_simulated_has_the_counts_of_the_study():
    dataset = load_dataset("simulated", size_px=32)
    assert dict(dataset.counts()) == {"G1": 257, "S": 166, "G2": 49, "M": 21}
    assert dataset.images.shape == (493, 1, 32, 32)
    assert dataset.images.dtype == np.float32
    assert dataset.images.min() >= 0
    assert dataset.images.max() <= 1
    assert dataset.origin == "simulated"
    assert len(dataset.truth) == 493
    assert len(set(dataset.sample_ids)) == 493


@pytest.mark.slow
def test_simulated_is_the_same_from_the_cache_and_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLCYCLE_OUTPUT", str(tmp_path))
    monkeypatch.setattr("cellcycle.simulation.STUDY_COUNTS", {"G1": 9, "S": 6, "G2": 3, "M": 3})
    made = load_dataset("simulated", size_px=32, seed=3)
    (cache,) = (tmp_path / "cache").glob("*.npz")
    cached = load_dataset("simulated", size_px=32, seed=3)
    again = []
    for damage in (b"damaged", b""):
        cache.write_bytes(damage)
        again.append(load_dataset("simulated", size_px=32, seed=3))
    for other in (cached, *again):
        np.testing.assert_array_equal(other.images, made.images)
        assert other.identity == made.identity
        pd.testing.assert_frame_equal(other.truth, made.truth, check_dtype=False, rtol=1e-12)
    assert load_dataset("simulated", size_px=32, seed=4).identity != made.identity


@pytest.mark.slow
def test_simulated_nuclei_without_a_size_have_that_of_the_study(monkeypatch):
    monkeypatch.setattr("cellcycle.simulation.STUDY_COUNTS", {"G1": 2, "M": 2})
    assert load_dataset("simulated", size_px=None).size_px == 64


@pytest.mark.slow
def test_simulated_colour_is_rgb_and_nagao_has_two_classes():
    assert load_simulated("simulated-colour", 32, 0, most=20).images.shape[1] == 3
    nagao = load_simulated("simulated-nagao", 32, 0, most=60)
    assert dict(nagao.counts()) == {"G2": 30, "not-G2": 16 + 11 + 4}


def test_folder_of_phases_in_phase_order(folder):
    dataset = load_dataset(folder)
    assert dataset.classes == ("G1", "M")
    assert dict(dataset.counts()) == {"G1": 3, "M": 3}
    assert dataset.name == "cells"
    assert dataset.origin == "real"
    assert dataset.sample_ids[0] == "G1/0.png"
    np.testing.assert_allclose(dataset.images[0, 0], np.asarray(Image.open(folder / "G1" / "0.png")) / 255, rtol=1e-6)


def test_other_class_names_are_ordered_by_name(folder):
    (folder / "G1").rename(folder / "other")
    assert load_dataset(folder).classes == ("M", "other")


def test_16_bit_tiff_keeps_its_depth(folder):
    made = nucleus(99, dtype=np.uint16)
    tifffile.imwrite(folder / "M" / "deep.tif", made)
    dataset = load_dataset(folder)
    image = dataset.images[list(dataset.sample_ids).index("M/deep.tif"), 0]
    np.testing.assert_allclose(image, made / 65535, rtol=1e-6)


def test_of_rgb_files_the_stain_is_read(folder):
    gray = nucleus(98)
    rgb = np.stack([np.zeros_like(gray), np.zeros_like(gray), gray], axis=-1)
    Image.fromarray(rgb).save(folder / "M" / "blue.png")
    stain = load_dataset(folder)
    at = list(stain.sample_ids).index("M/blue.png")
    np.testing.assert_allclose(stain.images[at, 0], gray / 255, rtol=1e-6)


def test_mixed_sizes_are_padded_with_their_background_to_one_scale(folder):
    big = nucleus(97, size=80)
    Image.fromarray(big).save(folder / "M" / "big.png")
    dataset = load_dataset(folder, size_px=80)
    assert dataset.images.shape == (7, 1, 80, 80)
    small = np.asarray(Image.open(folder / "G1" / "0.png")) / 255
    np.testing.assert_allclose(dataset.images[0, 0, 20:60, 20:60], small, rtol=1e-5)
    assert dataset.images[0, 0, 0, 0] == pytest.approx(0.05, abs=0.03)
    halved = load_dataset(folder, size_px=40)
    assert halved.images.shape[-1] == 40
    assert halved.images[0].sum() * 4 == pytest.approx(dataset.images[0].sum(), rel=0.05)


def test_nothing_is_scaled_up(folder):
    Image.fromarray(nucleus(97, size=80)).save(folder / "M" / "big.png")
    assert load_dataset(folder, size_px=300).images.shape[-1] == 80


def test_manifest_with_groups(folder):
    rows = [(f"{p}/{i}.png", p, "field1" if i < 2 else "") for p in ("G1", "M") for i in range(3)]
    file = folder / "cells.csv"
    pd.DataFrame(rows, columns=["path", "label", "group"]).to_csv(file, index=False)
    dataset = load_dataset(file)
    assert len(dataset) == 6
    # The two images without a group stand alone.
    assert len(set(dataset.groups)) == 3
    assert dataset.name == "cells"


def test_copies_share_a_group_and_are_noted(folder):
    image = np.asarray(Image.open(folder / "M" / "0.png"))
    Image.fromarray(np.rot90(image)).save(folder / "M" / "turned.png")
    dataset = load_dataset(folder)
    where = [list(dataset.sample_ids).index(n) for n in ("M/0.png", "M/turned.png")]
    assert dataset.groups[where[0]] == dataset.groups[where[1]]
    assert len(set(dataset.groups)) == 6
    assert "1 images are copies" in dataset.notes[0]


def test_a_table_of_crops_names_the_channel_where_no_rule_tells_it(folder):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "M" / "two.png")
    with pytest.raises(DataError, match="name it in a column channel of a table path,label, by index or name; or"):
        load_dataset(folder)
    table, rows = folder / "cells.csv", "path,label,channel\nG1/0.png,G1,DAPI\n"
    table.write_text(f"{rows}M/0.png,M,\nM/two.png,M,1\n")
    dataset = load_dataset(table, size_px=None)
    assert np.abs(dataset.images[2, 0] * 255 - pixels[..., 1]).max() < 0.01
    table.write_text(f"{rows}M/two.png,M,1\nM/two.png,M,2\n")
    with pytest.raises(DataError, match="has the channel '1' in line 3 and '2' in line 4"):
        load_dataset(table)


def test_an_unreadable_image_is_listed_and_refused_or_skipped_on_request(folder):
    (folder / "M" / "text.png").write_text("not an image")
    with pytest.raises(DataError, match=r"1 of 7 images cannot be read: .*text.png"):
        load_dataset(folder)
    dataset = load_dataset(folder, on_error="skip")
    assert len(dataset) == 6
    assert "text.png" in dataset.notes[0]


def test_only_unreadable_images_are_an_error_even_when_skipping(folder):
    for file in folder.glob("*/*.png"):
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match="6 of 6"):
        load_dataset(folder, on_error="skip")


def test_empty_folder_and_single_class_name_the_remedy(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no images.*one sub-folder per class"):
        load_dataset(tmp_path / "empty")
    for file in (folder / "M").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"only one class \(G1\)"):
        load_dataset(folder).check_for_training()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("where,label\na.png,G1\n", "no column path"),
        ("path,label\n", "no rows"),
        ("path,label\na.png,\n", "line 2"),
        ("path,label\nmissing.png,G1\nb.png,S\n", r"missing.png \(no such image under "),
        ("", "the file is empty"),
    ],
)
def test_wrong_manifests_are_one_clear_line(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "list.csv")


def test_unknown_sources_and_options(tmp_path):
    with pytest.raises(SettingError, match="no such data set"):
        load_dataset("simulatde")
    (tmp_path / "image.png").write_bytes(b"x")
    with pytest.raises(DataError, match="neither a folder nor"):
        load_dataset(tmp_path / "image.png")
    with pytest.raises(SettingError):
        load_dataset("simulated", on_error="ignore")


@pytest.mark.slow
def test_subsample_keeps_proportions_and_rare_classes():
    dataset = load_dataset("simulated", size_px=32)
    small = dataset.subsample(60, seed=1)
    assert small.counts()["M"] == 4
    assert 25 <= small.counts()["G1"] <= 36
    assert small.identity != dataset.identity
    assert small.identity == dataset.subsample(60, seed=1).identity
    assert dataset.subsample(1000) is dataset


@pytest.mark.slow
@pytest.mark.realdata
def test_real_cells_load(real_data):
    dataset = load_dataset(real_data / "jurkat")
    assert dict(dataset.counts()) == {"G1": 585, "S": 585, "G2": 585, "M": 466}
    assert dataset.images.shape == (2221, 1, 40, 40)


@pytest.mark.slow
def test_a_folder_made_by_the_simulator_keeps_its_slides_as_groups(tmp_path):
    from cellcycle.simulation import write_folder

    made = write_folder(tmp_path / "made", n_nuclei=12, size_px=32)
    dataset = load_dataset(made)
    assert dataset.name == "made"
    assert dataset.origin == "simulated"
    assert set(dataset.groups) <= {f"slide{i}" for i in range(1, 21)}
    assert load_dataset(made / "manifest.csv").identity == dataset.identity
    # Above it, or in a table elsewhere, simulated images are no real ones.
    assert load_dataset(tmp_path).origin == "simulated"
    table = pd.read_csv(made / "manifest.csv")[["path", "label"]].assign(path=lambda t: "made/" + t["path"])
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert load_dataset(tmp_path / "labels.csv").origin == "simulated"
    shutil.copytree(made / "G1", tmp_path / "taken")
    table["path"] = table["path"].str.replace("made/G1", "taken")
    table.to_csv(tmp_path / "labels.csv", index=False)
    assert load_dataset(tmp_path / "labels.csv").origin == "simulated and real"


def test_data_that_lie_where_a_name_leads_are_meant_but_no_empty_folder_and_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [is_named("simulated")]
    (tmp_path / "simulated").mkdir()
    for name in ("", "model.json", "a.png"):
        if name:
            (tmp_path / "simulated" / name).touch()
        found.append(is_named("simulated"))
    (tmp_path / "simulated" / "model.json").unlink()
    assert [*found, is_named("simulated")] == [True, True, True, True, False] and not is_named("others")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": [0, 1]}, "12 images for 2 labels"),
        ({"labels": list("abababababab")}, "labels of <U1"),
        ({"labels": [0, 2] * 6}, "labels of int64, such as 2"),
        ({"labels": [0.5, 1] * 6}, "such as 0.5"),
        ({"images": np.zeros((12, 8, 8))}, r"images of shape \(12, 8, 8\)"),
        ({"groups": ["a"]}, "1 groups for 12 labels"),
    ],
)
def test_a_set_made_by_hand_holds_arrays_and_one_of_each_a_nucleus(wrong, message):
    given = {
        "images": np.zeros((12, 1, 8, 8), np.float32).tolist(),
        "labels": [0, 1] * 6,
        "groups": list("aabbccddeeff"),
    }
    about = {"name": "mine", "classes": ("a", "b"), "sample_ids": range(12), "identity": "mine", "origin": "real"}
    made = NucleusDataset(**given, **about)
    assert made.images.shape == (12, 1, 8, 8)
    assert made.select([0, 5]).groups.tolist() == ["a", "c"]
    with pytest.raises(DataError, match=message):
        NucleusDataset(**given | wrong, **about)


def test_no_path_is_not_the_folder_one_is_in():
    with pytest.raises(SettingError, match="the path is empty"):
        load_dataset("")


def test_numbers_of_numpy_name_the_same_simulated_set():
    plain = make_simulated("few", {"G1": 3, "M": 1}, 32, 5)
    given = make_simulated("few", {"G1": np.int64(3), "M": np.int32(1)}, np.int64(32), np.uint8(5))
    assert plain.identity == given.identity
    np.testing.assert_array_equal(plain.images, given.images)
