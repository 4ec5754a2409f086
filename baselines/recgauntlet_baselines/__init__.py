"""The baselines: recommenders and defenses, registered exactly as a stranger's are."""
