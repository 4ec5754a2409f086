"""Templates of a complete, tested plugin package for a defense, a model, a task or an attack."""
