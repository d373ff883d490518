"""DICOM XA and RF: found, de-identified, decoded."""

from sfvd_pl.sources.dicom.identity import default_salt
from sfvd_pl.sources.dicom.run import DicomConfig, DicomRun
from sfvd_pl.sources.dicom.scan import is_dicom, scan_dicom

__all__ = ["DicomConfig", "DicomRun", "default_salt", "is_dicom", "scan_dicom"]
