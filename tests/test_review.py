"""What to look at first and why, and tables of labelled nuclei."""

import numpy as np
import pandas as pd
import pytest

from cellcycle import files, review
from cellcycle.errors import DataError
from cellcycle.predict import predict

FIELD = files.repository() / "data" / "sample" / "fields" / "fields" / "field_001.tif"


@pytest.fixture(scope="module")
def table():
    return predict(FIELD)


def without_confidence(**changes):
    columns = {
        "nucleus_id": [1, 2, 3, 4],
        "call": ["G1", "S", "G2", ""],
        "p_G1": [0.9, 0.4, 0.1, np.nan],
        "p_S": [0.1, 0.5, 0.2, np.nan],
        "p_G2": [0.0, 0.1, 0.7, np.nan],
        "flags": ["", "edge;scale_unknown", "", "no_g1_peak"],
    }
    return columns | changes


@pytest.mark.slow
def test_a_model_with_confidence_says_itself_what_is_doubtful(table):
    order, why = review.review_order(table), review.reasons(table)
    has_reason = np.array([bool(text) for text in why])
    assert sorted(order) == list(range(len(table)))
    assert has_reason.any() and not has_reason.all()
    assert sorted(has_reason[order], reverse=True) == has_reason[order].tolist()
    for part in (True, False):
        assert np.all(np.diff(table["confidence"].to_numpy()[order[has_reason[order] == part]]) >= 0)
    assert has_reason.tolist() == [bool(set(text.split(";")) - {"", "scale_unknown"}) for text in table["review"]]
    uncertain = table["review"].str.contains("uncertain").to_numpy()
    assert all(why[k].startswith(f"unsure whether {table['call'][k]} or ") for k in np.flatnonzero(uncertain))


def test_a_model_without_confidence_is_doubted_by_probability_and_flags():
    expected = ["", "unsure whether S or G1, cut by the image's edge", "", review.REASON_WORDS["no_g1_peak"]]
    assert review.reasons(without_confidence()) == expected
    assert review.review_order(without_confidence()).tolist() == [3, 1, 2, 0]
    missing = without_confidence(nucleus_id=pd.array([1, 2, pd.NA, 4], dtype="Int64"))
    assert review.review_order(missing).tolist() == [3, 1, 0]


@pytest.mark.slow
def test_a_table_of_plain_columns_is_read_as_a_frame_is(table):
    columns = {name: table[name].tolist() for name in table}
    assert review.reasons(columns) == review.reasons(table)
    np.testing.assert_array_equal(review.review_order(columns), review.review_order(table))


def test_every_flag_has_words_of_its_own():
    from cellcycle.segmentation.flags import FLAGS

    assert set(FLAGS) <= set(review.REASON_WORDS)
    assert review.in_words("made_up_later") == "made up later"


def test_a_reason_names_no_option_without_its_command():
    """The page shows reasons, too, and has fields where the command has options."""
    told = " ".join(review.REASON_WORDS.values())
    assert told.count("--") == told.count("cellcycle predict --")


@pytest.mark.slow
def test_labels_are_read_back_as_they_were_said(table, tmp_path):
    hostile = table.assign(image='=a";,\n<b>.tif')
    rows = review.labelled_rows(hostile, {3: "M", 1: review.NONE, 2: ""})
    review.write_labels(tmp_path / "labels.csv", rows)
    found, _ = review.read_labels(tmp_path / "labels.csv")
    assert found.columns[:5].tolist() == list(review.LABEL_COLUMNS)
    assert found["label"].tolist() == ["none", "M"]
    assert found["image"].tolist() == ['=a";,\n<b>.tif'] * 2
    expected = table.loc[[1, 3], ["nucleus_id", "centroid_y_px", "centroid_x_px", "pixel_size_um"]]
    np.testing.assert_array_equal(found[list(expected)], expected.astype(float))
    assert found["call"].tolist() == table["call"][[1, 3]].tolist()


@pytest.mark.parametrize("k", [-1, 999])
def test_what_is_said_of_no_row_is_said_of_no_other(table, k):
    with pytest.raises(DataError, match=rf"row {k} of {len(table)} is said to be M"):
        review.labelled_rows(table, {0: "G1", k: "M"})


def test_a_guessed_pixel_size_is_not_handed_on(table):
    guessed = table.assign(flags="edge;scale_unknown")
    (row,) = review.labelled_rows(guessed, {0: "S"})
    assert np.isnan(row["pixel_size_um"]) and "pixel_size_um" in review.labels_text([row])


def test_a_guessed_pixel_size_is_not_taken_for_stated_where_a_column_of_labels_was_added_to_a_table(table, tmp_path):
    flags = ["scale_unknown", "edge; scale_unknown", "edge"]
    table.head(3).assign(flags=flags, pixel_size_um=0.3, label="S").to_csv(tmp_path / "t.csv", index=False)
    found, _ = review.read_labels(tmp_path / "t.csv")
    np.testing.assert_array_equal(found["pixel_size_um"], [np.nan, np.nan, 0.3])
    assert "flags" not in found


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_out_of_a_spreadsheet_are_read(tmp_path, encoding, separator):
    lines = [
        ["Who", "Image", " Phase ", "Centroid y", "X"],
        ["a", "Zelle ä.tif", "s ", "10,5" if separator == ";" else "10.5", "20"],
        ["a", "Zelle ä.tif", "", "1", "2"],
        ["b", "Zelle ä.tif", "NONE", "3", "4"],
        ["b", "Zelle ä.tif", "G1", "5", "6"],
        ["b", "Zelle ä.tif", "G1", "5", "6"],
    ]
    text = "\r\n".join(separator.join(line) for line in lines) + "\r\n\r\n"
    (tmp_path / "mine.csv").write_bytes(text.encode(encoding))
    found, notes = review.read_labels(tmp_path / "mine.csv")
    assert found["image"].tolist() == ["Zelle ä.tif"] * 3 and found["label"].tolist() == ["S", "none", "G1"]
    assert "1 rows without a label are left out" in notes
    assert found["centroid_y_px"].tolist() == [10.5, 3, 5] and found["nucleus_id"].isna().all()


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "the file is empty"),
        ("image,nucleus_id\na.tif,1\n", "no column label"),
        ("nucleus_id\n1\n", "no column image and label"),
        ("image,label,centroid_y_px\na.tif,S,1\n", "no column nucleus_id, nor centroid_y_px and"),
        ("image,nucleus_id,label\na.tif,1,\n", "no row has a label"),
        ("image,nucleus_id,label\na.tif,one,S\n", "nucleus_id in line 2 is 'one'"),
        ("image,nucleus_id,label\n,1,S\n", "line 2 names no image"),
        ("image,nucleus_id,label\na.tif,,S\n", "line 2 names no image, or no number"),
        ("image,nucleus_id,label\na.tif,1,S\na.tif,1,M\n", "a.tif has the label 'S' in line 2 and 'M' in line 3"),
        ("image,nucleus_id,label\na.tif,1,S,extra\n", "line 2 has 4 cells"),
    ],
)
def test_a_table_that_is_none_of_labels_is_refused_in_one_line(tmp_path, text, finding):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(DataError, match=finding) as error:
        review.read_labels(tmp_path / "mine.csv")
    assert "\n" not in str(error.value) and "mine.csv" in str(error.value)


def test_nuclei_that_two_people_called_differently_are_counted_and_may_be_left_out(tmp_path):
    one = [f"a.tif,{k},{label}\n" for k, label in enumerate(["S", "none", "M"], start=1)]
    two = ["a.tif,1,M\n", "a.tif,2,S\n", "a.tif,3,M\n"]
    (tmp_path / "both.csv").write_text("".join(["image,nucleus_id,label\n", *one, *two]))
    with pytest.raises(DataError, match=r"'S' in line 2 and 'M' in line 5; and 1 more; keep one row of each, or leave"):
        review.read_labels(tmp_path / "both.csv")
    found, notes = review.read_labels(tmp_path / "both.csv", on_error="skip")
    assert found["nucleus_id"].tolist() == [3] and notes[-1].startswith("skipped a nucleus of a.tif has the label 'S'")
    (tmp_path / "none.csv").write_text("".join(["image,nucleus_id,label\n", *one[:2], *two[:2]]))
    with pytest.raises(DataError, match="keep one row of each"):
        review.read_labels(tmp_path / "none.csv", on_error="skip")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        review.read_labels(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        review.read_labels(tmp_path)


def test_channel_and_planes_are_handed_on_and_tell_rows_apart(table, tmp_path):
    (row,) = review.labelled_rows(table.assign(channel="GFP", planes="t 1"), {0: "S"})
    review.write_labels(tmp_path / "labels.csv", [row, row | {"planes": "t 2", "label": "M"}, row])
    found, _ = review.read_labels(tmp_path / "labels.csv")
    assert found[["channel", "planes", "label"]].to_numpy().tolist() == [["GFP", "t 1", "S"], ["GFP", "t 2", "M"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_comma_is_a_decimal_point_only_where_commas_do_not_part_cells(tmp_path, encoding):
    for separator in ";\t|,":
        lines = [["Bild ä", "Image", "Phase", "Y", "X"], ["1", "a.tif", "S", '"1,024"', "20"]]
        text = "# made, by hand\n" + "\n".join(separator.join(line) for line in lines)
        (tmp_path / "mine.csv").write_bytes(text.encode(encoding))
        if separator != ",":
            assert review.read_labels(tmp_path / "mine.csv")[0]["centroid_y_px"].tolist() == [1.024]
            continue
        with pytest.raises(DataError, match="centroid_y_px in line 3 is '1,024'; give a number"):
            review.read_labels(tmp_path / "mine.csv")
