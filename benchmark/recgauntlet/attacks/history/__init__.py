"""Attacks on a user's history."""
