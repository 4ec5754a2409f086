"""From a spec to trained weights: the defense contract, the trainer, checkpoints and cost."""
