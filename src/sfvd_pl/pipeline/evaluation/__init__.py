"""Measures of artifacts, one module a section of ``metrics.json``; import the module you need."""
