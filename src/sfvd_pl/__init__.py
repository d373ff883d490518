"""SF-VD, reconstructed: labelled synthetic fluoroscopy for guidewire segmentation."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sfvd-pl")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
