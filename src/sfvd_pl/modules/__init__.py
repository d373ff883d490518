"""LightningModules and what goes with them; import the module you need."""
