"""Submissions: records of an untrusted plugin, packed with what a reviewer needs, checked, and merged as files."""
