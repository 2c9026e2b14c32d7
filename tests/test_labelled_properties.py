"""Whatever a list of labelled images holds: a data set or one line, and classes are neither merged nor split unsaid."""

import re

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellcycle.datasets import load_dataset
from cellcycle.datasets.folders import folder_entries, manifest_entries
from cellcycle.datasets.labels import read_labels
from cellcycle.datasets.spelling import clean, clean_names
from cellcycle.errors import CellCycleError, DataError

pytestmark = pytest.mark.slow

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = st.text(alphabet="G1Ssm2 /.\\,;\t\"'#|\n\r\u00a0\u200b\ufeffé\0", max_size=8)
TABLES = st.lists(st.lists(CELLS, max_size=4), max_size=6)
HEADERS = st.sampled_from(
    ["path,label\n", "image,nucleus_id,label\n", "Path;Label;Group\n", "image\ty\tx\tlabel\n", ""]
)


@FEW
@given(header=HEADERS, rows=TABLES, separator=st.sampled_from(",;\t|"))
@pytest.mark.parametrize("read", [manifest_entries, read_labels, load_dataset])
def test_any_table_is_read_or_refused_in_one_line(tmp_path, read, header, rows, separator):
    file = tmp_path / "list.csv"
    file.write_bytes((header + "\n".join(separator.join(cells) for cells in rows)).encode())
    try:
        read(file)
    except CellCycleError as error:
        assert len(str(error).splitlines()) == 1


@FEW
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path, content):
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        load_dataset(file)
    assert len(str(error.value).splitlines()) == 1


NAMES = st.text(alphabet="aAbBgG12 -_\u00a0\u200b\t", max_size=6).filter(clean)


@settings(max_examples=200, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=8), what=st.sampled_from(["label", "group"]))
def test_names_become_one_exactly_where_separators_or_case_part_them_and_it_is_said(names, what):
    given_names = pd.Series(names)
    try:
        mended, notes = clean_names(given_names, what, "list.csv")
    except DataError as error:
        # Refused only where labels differ by blanks, dashes or underscores alone.
        assert what == "label"
        assert "differ only by a blank" in str(error)
        return
    keys = given_names.map(lambda name: clean(name).casefold())
    if what == "group":
        apart = r"(?<=[a-z]) (?=\w)|(?<=\w) (?=[a-z])"
        keys = keys.map(lambda name: re.sub(apart, "", re.sub("[ _-]+", " ", name)))
    assert (pd.factorize(mended)[0] == pd.factorize(keys)[0]).all()
    assert bool(notes) == bool((mended != given_names).any())


FOLDERS = st.sampled_from(["train", "test", "G1", "g2", "S", "images", "masks", "slide1", "slide2", "red", "blue"])


@FEW
@given(paths=st.sets(st.lists(FOLDERS, max_size=3).map("/".join), max_size=8))
def test_any_folders_give_every_image_one_class_or_are_refused(tmp_path_factory, paths):
    root = tmp_path_factory.mktemp("cells")
    for path in paths:
        (root / path).mkdir(parents=True, exist_ok=True)
        (root / path / "a.png").touch()
    try:
        entries, notes = folder_entries(root)
    except DataError as error:
        assert len(str(error).splitlines()) == 1
        return
    loose = 1 if "" in paths else 0
    assert len(entries) == len(paths) - loose
    assert entries["sample_id"].is_unique
    assert bool(loose) == any("left out" in note for note in notes)
    assert set(entries["label"]).isdisjoint({"train", "images", "masks"})
    for label, name in zip(entries["label"], entries["sample_id"], strict=True):
        assert label in name.split("/")[:-1]
