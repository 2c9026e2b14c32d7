"""The board of real evidence: what the shipped models come to on real cells, from records."""
