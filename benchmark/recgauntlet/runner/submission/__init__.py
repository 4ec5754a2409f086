"""Submissions: records of a stranger's plugin packed with all that a reviewer needs, checked, and merged as files."""
