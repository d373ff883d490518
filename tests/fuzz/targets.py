"""The ways in that are fuzzed: a valid corpus for each kind of file, and what reads it."""

import json
from functools import partial
from pathlib import Path

import numpy as np
from artifact_samples import columns_of, write_artifact
from harness import Target
from PIL import Image

from sfvd_pl.artifacts import Artifact, Kind, verify
from sfvd_pl.errors import ArtifactError
from sfvd_pl.sources.dicom.run import DicomConfig
from sfvd_pl.sources.dicom.scan import scan_dicom
from sfvd_pl.sources.importing.run import ImportConfig, import_source
from sfvd_pl.sources.split import SplitConfig

FRAMES, HEIGHT, WIDTH = 3, 24, 32
PATIENTS = ("p1", "p2", "p3")


def frames_of(seed: int, top: int = 255) -> np.ndarray:
    """A small clip (T, H, W) with a dark wire on a noisy ground."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0.5, 0.03, (FRAMES, HEIGHT, WIDTH))
    image[:, 4:20, 10:12] -= 0.25
    return np.rint(np.clip(image, 0, 1) * top).astype(np.uint8 if top <= 255 else np.uint16)


def _mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[4:20, 10:12] = 255
    return mask


def build_folders(folder: Path, *, masks: bool = True, spoil: str = "*", suffix: str = ".png") -> list[Path]:
    """Three patients in the layout of folders; the second one's files may be spoilt."""
    for number, patient in enumerate(PATIENTS):
        run = folder / patient / "r1"
        (run / "images").mkdir(parents=True)
        for k, frame in enumerate(frames_of(number, 1023 if suffix == ".tif" else 255)):
            Image.fromarray(frame).save(run / "images" / f"{k:03d}{suffix}")
            if masks or number != 1:
                (run / "masks").mkdir(exist_ok=True)
                Image.fromarray(_mask()).save(run / "masks" / f"{k:03d}.png")
        meta = {"fps": 15, "pixel_spacing_mm": 0.3, "intensity": "linear", "angles_deg": [30, -20], "source_scale": 0.5,
                "source_offset": 3, "affine": [[1, 0, 4], [0, 1, 2]], "origin": "dicom", "inverted": False}  # fmt: skip
        (run / "meta.json").write_text(json.dumps(meta))
    return sorted((folder / "p2").rglob(spoil))


def read_artifact(data: Path, out: Path) -> list[Path]:
    """Everything that the program reads of an artifact; a column that can't be read is as good as a broken file."""
    path = next(data.glob("*.h5"))
    artifact = Artifact.open(path)
    for key in artifact.keys:
        artifact.column(key)
    for clip in range(artifact.n_clips):
        if "frames/image" in artifact.keys:
            artifact.clip_rows("frames/image", clip)
    problems = verify(path)
    if problems:
        raise ArtifactError("the artifact does not hold", file=path, found=problems[0])
    return [path]


def build_artifact(folder: Path, kind: Kind) -> list[Path]:
    """One small artifact."""
    return [write_artifact(folder / f"{kind.value}.h5", kind, columns_of(kind))]


HDF5 = [Target(f"hdf5-{kind.value}", partial(build_artifact, kind=kind), read_artifact) for kind in Kind]


def read_source(data: Path, out: Path) -> list[Path]:
    """A whole import, in this process."""
    config = ImportConfig(workers=1, wire_width=2.0)
    import_source(data, out / "source.h5", config, split=SplitConfig(), seed=0, progress=False)
    return [out / "source.h5"]


_LINE = [10.5, 4.5, 11.5, 12.5, 10.5, 19.5]
_IMAGES = [{"id": k, "file_name": f"{k:03d}.png", "height": HEIGHT, "width": WIDTH} for k in range(FRAMES)]
_POINTS = "10.5,4.5;11.5,12.5;10.5,19.5"
LABELS = {
    "annotations.json": json.dumps({
        "images": _IMAGES,
        "categories": [{"id": 1, "name": "wire"}],
        "annotations": [
            {"image_id": 0, "category_id": 1, "segmentation": [_LINE], "width": 2},
            {"image_id": 1, "category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [100, 40, 628]}},
            {"image_id": 2, "category_id": 1, "keypoints": [10, 4, 2, 11, 12, 2], "width": 1.5},
            {"image_id": 2, "category_id": 1, "segmentation": [[4, 4, 12, 4, 12, 12, 4, 12]]},
        ],
    }),
    "annotations.xml": "<annotations>" + "".join(
        f'<image id="{k}" name="{k:03d}.png" width="{WIDTH}" height="{HEIGHT}"><polyline label="wire" '
        f'points="{_POINTS}"><attribute name="width">2</attribute></polyline><mask label="wire" left="2" top="2" '
        f'width="3" height="2" rle="1,4,1"/></image>' for k in range(FRAMES)
    ) + "</annotations>",
    "labels.json": json.dumps({"frames": [
        {"frame": 0, "curves": [{"kind": "bspline", "points": [[10, 4], [11, 8], [12, 12], [10, 19]], "width": 2}]},
        {"frame": 1, "curves": [{"kind": "polyline", "points": [[10, 4], [11, 12]], "width": 2}]},
        {"frame": 2, "curves": []},
    ]}),
    "labels.csv": "frame,x,y,width\n0,10,4,2\n0,11,12,2\n1,10,4,2\n1,12,19,2\n",
}  # fmt: skip
"""A label file of each kind, by the name that it has beside a run of pictures."""


def build_labels(folder: Path, *, name: str) -> list[Path]:
    """Folders of pictures with a label file of one kind beside the second patient's run."""
    build_folders(folder, masks=False)
    path = folder / "p2" / "r1" / name
    path.write_text(LABELS[name])
    return [path]


def build_npy(folder: Path) -> list[Path]:
    """Two patients' runs in folders, one as a NumPy stack with its sidecar."""
    build_folders(folder)
    stack = folder / "p4" / "run.npy"
    stack.parent.mkdir()
    np.save(stack, frames_of(4, 1023).astype(np.int16) - 200)
    (stack.with_suffix(".json")).write_text('{"fps": 7.5, "pixel_spacing_mm": 0.2, "intensity": "log"}')
    return [stack, stack, stack.with_suffix(".json")]


def build_nifti(folder: Path, *, suffix: str = ".nii") -> list[Path]:
    """The same with a NIfTI volume."""
    import nibabel

    build_folders(folder)
    volume = folder / "p4" / f"run{suffix}"
    volume.parent.mkdir()
    header = nibabel.Nifti1Header()
    header.set_xyzt_units("mm", "sec")
    pixels = frames_of(4).transpose(2, 1, 0)[:, :, None]
    image = nibabel.Nifti1Image(pixels, np.diag([0.3, 0.3, 1, 1]), header)
    image.header["pixdim"][4] = 1 / 15
    nibabel.save(image, volume)
    return [volume]


def build_video(folder: Path, *, suffix: str = ".avi") -> list[Path]:
    """The same with a video."""
    import av

    build_folders(folder)
    path = folder / "p4" / f"run{suffix}"
    path.parent.mkdir()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1" if suffix == ".avi" else "mpeg4", rate=15)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray" if suffix == ".avi" else "yuv420p"
        for frame in frames_of(4):
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return [path]


DICOM_SYNTAXES = ("", "RLELossless", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless")


def build_dicom(folder: Path, *, syntax: str = "") -> list[Path]:
    """A multi-frame XA file with much in its header, in one transfer syntax."""
    import pydicom
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["fuzz"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    ds.Modality, ds.PatientID, ds.PatientName, ds.PatientBirthDate = "XA", "17", "Doe^Jane", "19500101"
    ds.Rows, ds.Columns, ds.NumberOfFrames = HEIGHT, WIDTH, FRAMES
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 10, 9, 0
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.FrameTime, ds.CineRate = "66.7", 15
    ds.FrameTimeVector = [0, "66.7", "66.7"]
    ds.ImagerPixelSpacing, ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = [0.4, 0.4], 1000, 750
    ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = "30", "-20"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LIN", 1
    ds.ShutterShape = "RECTANGULAR"
    ds.ShutterLeftVerticalEdge, ds.ShutterRightVerticalEdge = 2, WIDTH - 1
    ds.ShutterUpperHorizontalEdge, ds.ShutterLowerHorizontalEdge = 2, HEIGHT - 1
    ds.RescaleSlope, ds.RescaleIntercept = "2", "-100"
    voi = Dataset()
    voi.LUTDescriptor = [4, 0, 16]
    voi.add_new("LUTData", "OW", np.array([0, 100, 200, 65535], "<u2").tobytes())
    ds.VOILUTSequence = [voi]
    ds.PixelData = frames_of(1, 1023).astype("<u2").tobytes()
    path = folder / "run.dcm"
    ds.save_as(path, enforce_file_format=True)
    if syntax:
        _recode(path, syntax)
        pydicom.dcmread(path).pixel_array  # noqa: B018  # the corpus has to be valid
    return [path]


def _recode(path: Path, syntax: str) -> None:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def read_dicom(data: Path, out: Path) -> list[Path]:
    """Scan and decode; every value map that a user can ask for."""
    for voi in ("ignore", "apply"):
        for run in scan_dicom([data / "run.dcm"], DicomConfig(voi=voi), "salt"):
            run.read()
    return []


PICTURES = [
    Target("png", partial(build_folders, spoil="*.png"), read_source),
    Target("tif", partial(build_folders, spoil="*.tif", suffix=".tif"), read_source),
    Target("jpg", partial(build_folders, spoil="*.jpg", suffix=".jpg"), read_source),
    Target("meta", partial(build_folders, spoil="meta.json"), read_source),
]
STACKS = [
    Target("npy", build_npy, read_source),
    Target("nifti", build_nifti, read_source),
    Target("nifti-gz", partial(build_nifti, suffix=".nii.gz"), read_source),
    Target("video-avi", build_video, read_source),
    Target("video-mp4", partial(build_video, suffix=".mp4"), read_source),
]
DICOM = [
    Target(f"dicom-{syntax or 'plain'}", partial(build_dicom, syntax=syntax), read_dicom)
    for syntax in DICOM_SYNTAXES
]
LABEL_FILES = [
    Target(f"labels-{kind}", partial(build_labels, name=name), read_source)
    for kind, name in zip(("coco", "cvat", "points", "csv"), LABELS, strict=True)
]
ALL = (*DICOM, *PICTURES, *LABEL_FILES, *STACKS, *HDF5)
