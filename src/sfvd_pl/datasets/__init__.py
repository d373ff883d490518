"""Artifacts in, typed batches out; import the module you need."""
