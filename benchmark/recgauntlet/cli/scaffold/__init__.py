"""Templates of a complete, tested plugin package, one for each kind of plugin."""
