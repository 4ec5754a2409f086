"""Metrics of ranking and classification, intervals and tests, on plain arrays."""
