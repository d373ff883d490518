"""Stages as chains of steps; import the module you need."""
