"""Measures of a data set's own quality: copies, labels beside their wire, frozen frames, exposure, noise."""
