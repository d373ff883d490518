"""Measures of pictures, labels, noise and segmentation: NumPy in, numbers out; import the module you need."""
