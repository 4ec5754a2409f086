"""The vocabulary of the benchmark: cards, batches, contracts, errors, randomness. Imports no other room."""
