"""From models to labelled synthetic clips: the plan, the gate, and the columns that are written."""
