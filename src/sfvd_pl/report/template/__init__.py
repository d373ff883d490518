"""The pages' templates, in Jinja with everything escaped; modules, so that they go where the package goes."""
