"""DataModules: artifacts in, typed batches out."""
