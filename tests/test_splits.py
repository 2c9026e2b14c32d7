import numpy as np
import pytest
from scipy import ndimage

from cellcycle.errors import DataError
from cellcycle.splits import Fold, check_no_leak, image_fingerprints, joined, marks_of, overlapping, stratified_folds


@pytest.fixture
def labels():
    return np.repeat([0, 1, 2, 3], [50, 30, 12, 5])


def test_every_image_is_tested_once_a_repeat(labels):
    folds = stratified_folds(labels, n_folds=5, n_repeats=2)
    assert len(folds) == 10
    for repeat in (0, 1):
        tested = np.concatenate([f.test for f in folds if f.repeat == repeat])
        np.testing.assert_array_equal(np.sort(tested), np.arange(len(labels)))


def test_folds_keep_the_share_of_every_class(labels):
    for fold in stratified_folds(labels, n_folds=5):
        counts = np.bincount(labels[fold.test], minlength=4)
        assert abs(counts - np.array([10, 6, 2.4, 1])).max() <= 1


def test_seed_decides_the_folds(labels):
    a, b, c = (stratified_folds(labels, seed=s)[0].test for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_groups_are_never_parted(labels):
    groups = np.arange(len(labels)) // 2
    for fold in stratified_folds(labels, n_folds=2, groups=groups):
        assert not set(groups[fold.train]) & set(groups[fold.test])


def test_a_fold_that_would_train_on_no_image_of_a_class_is_refused():
    labels, groups = [1, 1, 0, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2, 2]
    with pytest.raises(DataError, match=r"class G1: all its groups fell into one fold, .*give another seed"):
        stratified_folds(labels, 2, 1, 0, groups, ("G1", "S"))
    for fold in stratified_folds(labels, 2, 1, 3, groups):
        assert set(np.take(labels, fold.train)) == {0, 1}


def test_too_few_images_of_a_class_names_it_and_the_remedy(labels):
    with pytest.raises(DataError, match=r"class M: 5 images for 6 folds; .*or use 5 folds"):
        stratified_folds(labels, n_folds=6, classes=("G1", "S", "G2", "M"))
    # The number of folds that is advised suits all classes, not only the first that has too few.
    with pytest.raises(DataError, match=r"class S: 2 images for 6 folds; .*or use 2 folds"):
        stratified_folds([0] * 5 + [1] * 2 + [2] * 9, n_folds=6, classes=("G1", "S", "G2"))


def test_one_class_is_refused():
    with pytest.raises(DataError, match="only 1 class"):
        stratified_folds(np.zeros(20, int))


def test_fingerprint_ignores_turning_and_mirroring_only():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 8, 8), dtype=np.float32)
    prints = image_fingerprints([a, np.rot90(a, 1, (1, 2)), a[:, :, ::-1], a[:, ::-1], b])
    assert len(set(prints[:4])) == 1
    assert prints[4] != prints[0]


def test_rows_that_share_a_key_in_any_column_are_joined():
    np.testing.assert_array_equal(joined([["b"], ["a"], ["b"]]), [1, 0, 1])
    # Copies link group x with y; z stays alone, though the name of a group is a copy's of another.
    np.testing.assert_array_equal(joined([["x", "a"], ["x", "b"], ["y", "a"], ["z", "x"]]), [0, 0, 0, 1])
    np.testing.assert_array_equal(joined([["", "a"], ["", "b"], ["c", ""], ["d", ""]]), [2, 3, 0, 1])


def test_marks_know_a_nucleus_cut_wider_and_in_another_bit_depth_again():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 1, 30, 30))
    wide = np.pad(small, ((0, 0), (0, 0), (6, 6), (6, 6)), mode="reflect")
    shifted = (small << 8).astype(np.float32) / 65535
    marks = marks_of([*(small / 255).astype(np.float32), *(wide / 255).astype(np.float32), *shifted[:, :, ::-1]])
    np.testing.assert_array_equal(joined(marks), np.unique(marks[:2, 0], return_inverse=True)[1][[0, 1, 0, 1, 0, 1]])
    # Overexposed middles are all alike.
    flat = np.ones((2, 1, 60, 60), np.float32)
    flat[:, :, :, :4] = small[:, :, :4, :4].repeat(15, axis=2) / 255
    assert len(set(joined(marks_of(flat, about=flat)))) == 2


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1], [1, 2], "both sides"),
        ([0], [3], "1 test images have copies in training"),
        ([0], [1], "1 test images have copies in training"),
        ([0], [2], "share a group"),
    ],
)
def test_each_kind_of_leak_is_refused(train, test, message):
    fold = Fold(0, 0, np.array(train), np.array(test))
    prints, groups = np.array([("p", "m"), ("q", "m"), ("r", "n"), ("p", "m")]), np.array([1, 2, 1, 3])
    with pytest.raises(DataError, match=message):
        check_no_leak(fold, prints, groups)


def test_two_images_of_which_a_mark_tells_nothing_are_no_copies():
    flat = [np.full((1, 30, 30), level, np.float32) for level in (0.1, 0.2)]
    check_no_leak(Fold(0, 0, np.array([0]), np.array([1])), marks_of(flat))


def test_clean_fold_passes():
    check_no_leak(Fold(0, 0, np.array([0, 1]), np.array([2])), np.array(["p", "q", "r"]), np.array([1, 2, 3]))


def test_grouped_folds_differ_from_seed_to_seed_and_stay_stratified():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 25)
    labels = rng.choice(4, len(groups), p=[0.5, 0.34, 0.1, 0.06])
    divisions = {}
    for seed in (0, 1, 2):
        folds = stratified_folds(labels, 5, seed=seed, groups=groups)
        divisions[seed] = {frozenset(groups[f.test]) for f in folds}
        assert sorted(np.concatenate([f.test for f in folds])) == list(range(len(labels)))
        for fold in folds:
            assert not set(groups[fold.train]) & set(groups[fold.test])
            assert set(labels[fold.test]) == {0, 1, 2, 3}
            assert 0.1 * len(labels) < len(fold.test) < 0.3 * len(labels)
    assert len({frozenset(division) for division in divisions.values()}) == 3


def test_crops_that_show_a_part_of_one_picture_are_told_whatever_lies_between_their_middles():
    rng = np.random.default_rng(0)
    field = rng.poisson(ndimage.gaussian_filter(rng.uniform(0, 4000, (200, 200)), 3)).astype(np.float32)
    field[:40, :40] = 0
    corners = [(60, 60), (60, 90), (75, 118), (130, 10), (0, 0), (2, 2)]
    crops = [field[np.newaxis, y : y + 48, x : x + 48] for y, x in corners]
    crops[4], crops[5] = crops[4].copy(), crops[5].copy()
    # What has no grain says nothing of where it is from.
    crops[4][:, 40:] = crops[4][:, :, 40:] = crops[5][:, 38:] = crops[5][:, :, 38:] = 0
    assert overlapping(crops).tolist() == [0, 0, 0, 1, 2, 3]
    assert overlapping([crop[:, :8] for crop in crops]).tolist() == [0, 1, 2, 3, 4, 5], "too narrow to tell"
    assert overlapping([]).tolist() == []
    alone = list(rng.random((40, 1, 32, 32), np.float32))
    for image in alone:
        image[0, :12] = alone[0][0, :12]
    assert len(set(overlapping(alone))) == 40, "what stands on all was written there"


def test_a_class_of_any_name_that_is_too_small_is_named():
    with pytest.raises(DataError, match="class S"):
        stratified_folds(["G1", "S", "G1"], 2, classes=["G1", "S"])


@pytest.mark.parametrize("name", [str, float, bool, lambda code: 10**9 * code])
@pytest.mark.parametrize("is_grouped", [False, True])
def test_classes_may_have_any_names(name, is_grouped):
    codes = np.random.default_rng(0).integers(0, 2, 60)
    groups = np.arange(60) // 3 if is_grouped else None
    made, expected = (stratified_folds(y, 3, 2, 0, groups) for y in (np.array([name(k) for k in codes]), codes))
    assert [fold.test.tolist() for fold in made] == [fold.test.tolist() for fold in expected]
