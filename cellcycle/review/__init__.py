"""Review of doubtful calls, which become labelled data: order and reasons, tables of labels, and a contact sheet.

`review_order` and `reasons` take the columns of any prediction table; `labelled_rows`, `write_labels` and
`read_labels` make and read tables of labelled nuclei; `write_sheet` makes a page of pictures that needs no server.
The website uses the same words, order and tables.
"""

from cellcycle.datasets.labels import LABEL_COLUMNS, NONE, read_labels
from cellcycle.predict.reasons import REASON_WORDS, in_words
from cellcycle.review.doubt import classes_of, either, reason_codes, reasons, review_order, sureness
from cellcycle.review.labels import csv_line, labelled_rows, labels_text, rounded, write_labels
from cellcycle.review.sheet import write_sheet
from cellcycle.review.table import BOX_COLUMNS, read_table
