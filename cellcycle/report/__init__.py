"""The report of an experiment: one page, and a table of every number on it, from tables of `cellcycle predict`."""

from cellcycle.report.numbers import Experiment, read_experiment
from cellcycle.report.page import write_report
