"""The included recommenders and defenses, registered by entry points as any plugin's are."""
