"""Trained models outside the benchmark: exported as one graph with a card, or served over HTTP."""
