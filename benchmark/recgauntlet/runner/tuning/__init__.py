"""Tuning: the same few trials for every method, judged on validation data alone."""
