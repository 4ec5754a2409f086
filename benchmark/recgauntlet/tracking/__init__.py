"""Records in experiment trackers: TensorBoard, MLflow, Weights & Biases and Trackio."""
