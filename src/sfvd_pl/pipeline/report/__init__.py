"""The report of a run, and of several side by side: what is gathered for it, the step that writes it, W&B."""
