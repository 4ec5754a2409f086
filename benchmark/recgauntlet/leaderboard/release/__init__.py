"""Frozen releases: freeze, verify, compare and summarize them."""
