"""Tables and sentences computed from run records; nothing in them is typed in."""

from cellcycle.summaries.scores import (
    SCORES,
    chosen_without_fold,
    compare,
    confusion,
    differences,
    dna_relative,
    majority_accuracy,
    rarest_class,
    references,
    score_table,
    sentence,
    show_scores,
    worst_mistakes,
)
from cellcycle.summaries.tables import published, table_1, table_2, table_3

__all__ = [
    "SCORES",
    "chosen_without_fold",
    "compare",
    "confusion",
    "differences",
    "dna_relative",
    "majority_accuracy",
    "published",
    "rarest_class",
    "references",
    "score_table",
    "sentence",
    "show_scores",
    "table_1",
    "table_2",
    "table_3",
    "worst_mistakes",
]
