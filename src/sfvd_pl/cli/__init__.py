"""The command line; import the module you need."""
