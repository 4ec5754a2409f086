"""The files of a submission: its manifest and its archive."""
