"""Readers keep their word on broken and hostile files; `make fuzz` tries thousands, here are some hundred."""

import os
import sys
import time

import numpy as np
import pytest

from benchmarks.fuzz.__main__ import files, judged
from benchmarks.fuzz.crafted import crafted, lay_traps
from benchmarks.fuzz.crafted_streams import zeros
from benchmarks.fuzz.mutate import MUTATORS, mutant
from benchmarks.fuzz.seeds import seeds
from benchmarks.fuzz.verdict import Judge
from cellcycle.errors import ImageError
from cellcycle.images import Plane, read_plane

pytestmark = pytest.mark.slow

# Elsewhere the child is ended instead.
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limit is one of address space")
# Read within the limits, but for seconds each: `make fuzz` has them too.
COSTLY = {
    "png 11,000 x 11,000 of 16-bit colour",
    "png 13,000 x 13,000 in truth",
    "tiles of 16 in 5000 x 5000",
    "ome 100,000 TiffData",
    "ome 100,000 channels",
    "ome deep",
    "ome 20,000 images",
    "200,000 pages",
    "4000 SubIFDs",
}
PIXELS = np.zeros((4, 5), np.float32)


@pytest.fixture
def folder(tmp_path):
    return lay_traps(tmp_path)


@pytest.fixture(scope="module")
def judge():
    with Judge(megabytes=300) as made:
        yield made


def test_every_seed_is_an_image_that_is_read_unless_it_is_a_time_series_an_animation_or_a_mask(folder):
    rows = list(judged(((k, k, "", *made) for k, made in seeds().items()), folder))
    assert len(rows) >= 25
    refused = {row["kind"] for row in rows if row["outcome"] != "read"}
    assert refused == {"imagej", "ome time", "tiff bool", "png moving"}


def test_readers_keep_their_word_on_crafted_files(folder):
    made = ((name, "crafted", "", suffix, data) for name, suffix, data in crafted(folder) if name not in COSTLY)
    rows = list(judged(made, folder))
    assert len(rows) > 500
    assert [row for row in rows if row["outcome"] == "finding"] == []


def test_readers_keep_their_word_on_mutants(folder):
    rows = list(judged(files(folder, seed=1, numbers=range(308), is_crafted=False), folder))
    assert [row for row in rows if row["outcome"] == "finding"] == []
    # A fuzzer whose files are all refused at the door would find nothing.
    assert 0.1 < np.mean([row["outcome"] == "read" for row in rows]) < 0.9


def test_a_mutant_is_the_same_each_time_and_every_mutator_has_its_turn():
    made = [mutant(5, number) for number in range(1500)]
    assert made == [mutant(5, number) for number in range(1500)]
    assert made[0] != mutant(6, 0)
    assert {name for _, how, _, _ in made for name in how.split("+")} == set(MUTATORS)


def test_zeros_are_zlib():
    import zlib

    assert zlib.decompress(zeros(2_500_000)) == bytes(2_500_000)


# Readers that let something through; they run in the child.
def wrong_shape(path, **_):
    return Plane(PIXELS[..., None], 8, None, str(path))


def wrong_type(path, **_):
    return Plane(PIXELS.astype(float), 8, None, str(path))


def above_one(path, **_):
    return Plane(PIXELS + 2, 8, None, str(path))


def not_a_number(path, **_):
    return Plane(PIXELS * np.nan, 8, None, str(path))


def wrong_scale(path, **_):
    return Plane(PIXELS, 8, -1.0, str(path))


def only_by_the_rules(path, channel=None, plane=None):
    return wrong_shape(path) if channel == 0 else Plane(PIXELS, 8, None, str(path))


def raises(path, **_):
    raise ValueError("index can't contain negative values")


def two_lines(path, **_):
    error = ImageError(path, "a", "b")
    error.args = (f"{path.name}: a\nb",)
    raise error


def nameless(path, **_):
    raise ImageError("image", "it cannot be decoded", "export it again")


def out_of_memory(path, **_):
    try:
        bytearray(10**9)
    except MemoryError as error:
        raise ImageError(path, "it does not fit", "cut it") from error


def endless(path, **_):
    while True:
        pass


def asleep(path, **_):
    time.sleep(60)


def dead(path, **_):
    os.abort()


def opens_another(path, **_):
    (path.parent / "secret.tif").read_bytes()
    return Plane(PIXELS, 8, None, str(path))


def talks(path, **_):
    os.write(2, b"PNG warning")
    return Plane(PIXELS, 8, None, str(path))


def good(path, **_):
    return Plane(PIXELS, 8, 0.5, str(path))


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        (wrong_shape, "shape"),
        (wrong_type, "float64"),
        (above_one, "between"),
        (not_a_number, "between"),
        (wrong_scale, "um"),
        (only_by_the_rules, "shape"),
        (raises, "ValueError"),
        (two_lines, "one line"),
        (nameless, "name"),
        pytest.param(out_of_memory, "asks for more", marks=ON_LINUX),
        (dead, "ended the process"),
        (opens_another, "secret.tif"),
        (talks, "PNG warning"),
    ],
)
def test_a_reader_that_lets_something_through_is_found(folder, judge, reader, told):
    path = folder / "a.tif"
    path.write_bytes(seeds()["tiff uint8"][1])
    verdict = judge(path, reader)
    assert verdict.outcome == "finding" and told in verdict.told
    assert judge(path, good).outcome == "read"


@pytest.mark.parametrize("reader", [endless, asleep])
def test_a_reader_that_does_not_end_is_found(folder, reader):
    path = folder / "a.tif"
    path.write_bytes(b"II*\0")
    with Judge(seconds=0.5) as hasty:
        verdict = hasty(path, reader)
    assert verdict.outcome == "finding" and "longer than 0.5 s" in verdict.told


def test_a_good_file_is_read_and_a_broken_one_refused(folder, judge):
    path = folder / "a.tif"
    path.write_bytes(seeds()["tiff uint8"][1])
    found = judge(path, read_plane)
    assert found.outcome == "read", found
    path.write_bytes(b"II*\0")
    assert judge(path, read_plane).outcome == "refused"
