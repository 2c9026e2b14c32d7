"""The evidence on real cells: scores of the shipped models, computed from records."""
