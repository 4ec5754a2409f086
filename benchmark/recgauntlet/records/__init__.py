"""What a run leaves behind: the record's schema, its file and its checks."""
