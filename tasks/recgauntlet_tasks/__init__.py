"""The benchmark's tasks: one card and one loader each."""
