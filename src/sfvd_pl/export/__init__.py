"""Artifacts in other people's formats: PNG folders, MP4, NIfTI, nnU-Net, DICOM.

Each format is one module with one class: ``add`` writes a clip, ``finish`` what belongs to all of them.
"""

from sfvd_pl.export.run import FORMATS, ExportConfig, export_artifact

__all__ = ["FORMATS", "ExportConfig", "export_artifact"]
