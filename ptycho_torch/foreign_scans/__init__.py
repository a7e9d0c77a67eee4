"""Scans as other programs write them: a reader for each format, one form that all of them end in, and what leads to DATA-001."""
