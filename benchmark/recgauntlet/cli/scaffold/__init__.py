"""Starting a plugin: a complete, tested package of its own for a defense, a model, a task or an attack."""
