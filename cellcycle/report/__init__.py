"""What an experiment shows: one page, and a table of every number on it, from the tables of `cellcycle predict`."""

from cellcycle.report.numbers import Experiment, read_experiment
from cellcycle.report.page import write_report
