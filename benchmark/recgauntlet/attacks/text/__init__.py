"""Attacks on a candidate's text."""
