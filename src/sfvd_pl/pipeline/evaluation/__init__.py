"""Stage 4's measures: any generated clips against real ones, one module a section of ``metrics.json``; import the
module you need.
"""
