import re

import pandas as pd
import pytest

from cellcycle import paths
from cellcycle.errors import RecordError
from cellcycle.study import blocks

CARD = paths.repository() / "data" / "README.md"


@pytest.fixture(scope="module")
def computed():
    return blocks.card_blocks()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["VALIDATION", "MITOSIS", "CEILING", "TRANSFER"])
def test_the_data_card_follows_from_records_and_simulator(computed, name):
    text = CARD.read_text(encoding="utf-8")
    kept = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()
    made = computed[name]
    # Pixels may differ in the last bit between processors: numbers agree within their last digit.
    number = re.compile(r"\d+\.\d+")
    assert number.sub("#", kept) == number.sub("#", made)
    for a, b in zip(number.findall(kept), number.findall(made), strict=True):
        assert abs(float(a) - float(b)) <= 0.0101, (name, a, b)


def test_replacing_a_block_leaves_the_rest_alone():
    text = "before\n<!-- A -->\nold\n<!-- /A -->\nafter"
    assert blocks.replace_block(text, "A", "new") == "before\n<!-- A -->\nnew\n<!-- /A -->\nafter"
    with pytest.raises(RecordError, match="no such block"):
        blocks.replace_block(text, "B", "new")


def test_markdown_table_rounds_and_leaves_gaps():
    table = pd.DataFrame({"x": [0.123, None], "y": ["a", "b"]}, index=pd.Index(["r", "s"], name="row"))
    assert blocks.markdown_table(table).splitlines() == [
        "| row | x | y |",
        "| --- | --- | --- |",
        "| r | 0.12 | a |",
        "| s |  | b |",
    ]
