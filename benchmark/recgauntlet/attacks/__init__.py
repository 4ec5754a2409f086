"""The attacks of the suite, one file a surface."""
