"""Every column of every kind of artifact: dtype, axes, unit, range and meaning."""

from dataclasses import dataclass

AXES: dict[str, str] = {
    "N": "frame, over all clips of the artifact",
    "M": "clip",
    "A": "arm of the comparison",
    "H": "row, downwards, in pixels",
    "W": "column, to the right, in pixels",
}
"""Meaning of the named axes; an axis that is a digit has that length."""

DTYPES: dict[str, tuple[str, ...]] = {
    "uint8": ("uint8",),
    "image": ("uint8", "uint16"),
    "bool": ("bool",),
    "int64": ("int64",),
    "float16": ("float16",),
    "float32": ("float32",),
    "float64": ("float64",),
    "str": ("str",),
}
"""Dtypes on disk that each declared dtype allows."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: Path inside the file, ``table/name``.
        dtype: One of ``DTYPES``; "image" is uint8 or uint16, "str" is UTF-8 text.
        axes: Names from ``AXES``, or a digit for an axis of that length.
        unit: Unit of the values, "1" where they have none.
        range: Least and greatest value allowed, both inclusive, or None. An image's range is
            0..intensity_max.
        nan_ok: Whether NaN is allowed; it always means "unknown".
        doc: What the values mean.
        choices: The only texts allowed in a column of text, or None.
    """

    key: str
    dtype: str
    axes: tuple[str, ...]
    unit: str
    range: tuple[float, float] | None
    nan_ok: bool
    doc: str
    choices: tuple[str, ...] | None = None

    @property
    def streamed(self) -> bool:
        """Whether the values are pictures, which are never held whole in memory."""
        return self.axes[-2:] == ("H", "W")

    @property
    def packed(self) -> bool:
        """Whether the values are pictures of zeros and ones, which lie in the file with eight columns a byte."""
        return self.streamed and self.dtype == "uint8" and self.range == (0, 1)


_INFINITY = float("inf")
_PICTURE = ("N", "H", "W")

_IMAGE = Column(
    "frames/image",
    "image",
    _PICTURE,
    "detector count",
    None,
    False,
    "Detector signal, 0 to `intensity_max`; the wire is dark.",
)
_WIRE_MASK = Column(
    "frames/wire_mask",
    "uint8",
    _PICTURE,
    "1",
    (0, 1),
    False,
    "1 on the wire, 0 elsewhere; all 0 where the frame isn't annotated.",
)
_IGNORE = Column(
    "frames/ignore",
    "uint8",
    _PICTURE,
    "1",
    (0, 1),
    False,
    "1 where nobody knows whether there is a wire: such pixels count in no loss, measure or gate; never 1 on the wire.",
)
_ANNOTATED = Column(
    "frames/annotated", "bool", ("N",), "1", None, False, "Whether a wire mask exists for this frame."
)
_VISIBILITY = Column(
    "frames/visibility",
    "float32",
    ("N",),
    "1",
    None,
    True,
    "Contrast-to-noise ratio of the wire against the ring around it, positive when the wire is darker; "
    "NaN where unknown.",
)
CLIP_TABLE = (
    Column("clips/name", "str", ("M",), "1", None, False, "Name of the clip, unique in the artifact."),
    Column(
        "clips/patient", "str", ("M",), "1", None, False,
        "Patient of the clip; in a generated artifact `synthetic`, nobody's.",
    ),
    Column(
        "clips/start", "int64", ("M",), "row", (0, _INFINITY), False,
        "First row of the clip in the frames table.",
    ),
    Column("clips/length", "int64", ("M",), "frame", (1, _INFINITY), False, "Number of frames of the clip."),
)
_EXTENT = (
    Column(
        "clips/height", "int64", ("M",), "pixel", (1, _INFINITY), False,
        "Rows that hold picture; below them the frame repeats its last row.",
    ),
    Column(
        "clips/width", "int64", ("M",), "pixel", (1, _INFINITY), False,
        "Columns that hold picture; right of them the frame repeats its last column.",
    ),
)
FILMED = (_IMAGE, _WIRE_MASK, _ANNOTATED, _VISIBILITY, *CLIP_TABLE)

GENERATED = (
    Column(
        "clips/sample_id", "int64", ("M",), "1", (0, _INFINITY), False,
        "Identity of the sample, unique; with the seed it decides every random number behind the clip.",
    ),
    Column(
        "clips/sample_seed", "int64", ("M",), "1", None, False,
        "Seed derived from the run's seed and sample_id.",
    ),
    Column(
        "clips/requested_visibility", "float32", ("M",), "1", None, True,
        "Visibility that was asked of the model; NaN where none was.",
    ),
    Column(
        "clips/mask_origin", "str", ("M",), "1", None, False,
        "Where the mask sequence came from: a labelled training clip, the simulator's free course, or a visible "
        "course of the clip's background.",
        ("labelled", "simulated", "vessel"),
    ),
    Column(
        "clips/mask_source", "str", ("M",), "1", None, False,
        "Name of the clip whose masks were used, or the simulator's seed.",
    ),
    *_EXTENT,
)

SOURCE_ONLY = (
    _IGNORE,
    *_EXTENT,
    Column(
        "clips/split", "str", ("M",), "1", None, False,
        "Part of the data the clip belongs to; a patient's clips are all in one part.",
        ("train", "val", "test"),
    ),
    Column(
        "clips/labelled", "bool", ("M",), "1", None, False,
        "Whether training may use the clip's masks. A clip may be annotated yet not labelled: its masks "
        "then serve for measuring only.",
    ),
    Column("clips/fps", "float32", ("M",), "Hz", (1e-3, _INFINITY), True, "Frame rate; NaN where unknown."),
    Column(
        "clips/spacing_mm", "float32", ("M",), "mm", (1e-4, _INFINITY), True,
        "Distance between the centres of neighbouring source pixels; NaN where unknown.",
    ),
    Column(
        "clips/affine", "float64", ("M", "2", "3"), "source pixel", None, False,
        "Maps a pixel (x, y, 1) of the artifact to the pixel (x, y) of the source.",
    ),
    Column(
        "clips/origin", "str", ("M",), "1", None, False,
        "Kind of source it came from.",
        ("phantom", "frames", "dicom", "video", "nifti", "npy"),
    ),
    Column(
        "clips/intensity", "str", ("M",), "1", None, False,
        "What the pixel values are linear in: the X-ray intensity, its logarithm, nothing known after display "
        "processing, or unknown.",
        ("linear", "log", "display", "unknown"),
    ),
    Column(
        "clips/source_scale", "float64", ("M",), "source value", None, False,
        "The source's value is source_scale * pixel + source_offset, rounded where the source holds integers; "
        "negative where the pictures were inverted so that the wire is dark.",
    ),
    Column(
        "clips/source_offset", "float64", ("M",), "source value", None, False, "See `clips/source_scale`."
    ),
    Column(
        "clips/angles_deg", "float32", ("M", "2"), "degree", (-180, 180), True,
        "C-arm angles: primary (LAO positive), secondary (cranial positive); NaN where unknown.",
    ),
)

SCENES_ONLY = (
    Column(
        "frames/wire_mask",
        "uint8",
        _PICTURE,
        "1",
        (0, 1),
        False,
        "Mask sequence that the clip is to follow: 1 on the wire, 0 elsewhere; the first drove the scene.",
    ),
    Column(
        "clips/scene", "image", ("M", "H", "W"), "detector count", None, False,
        "Generated first frame, 0 to `intensity_max`; the wire is dark.",
    ),
    Column(
        "clips/measured_visibility", "float32", ("M",), "1", None, True,
        "Contrast-to-noise ratio of the wire measured in the scene; NaN where it can't be measured.",
    ),
)

SYNTHETIC_ONLY = (
    _IGNORE,
    Column(
        "clips/measured_visibility", "float32", ("M",), "1", None, True,
        "Median over the frames of the wire's contrast-to-noise ratio; NaN where it can't be measured.",
    ),
    Column(
        "clips/segmentation_scale", "float32", ("M",), "1", None, False,
        "Scale of segmentation guidance: above 0 a clearer wire, below 0 a fainter one, 0 none.",
    ),
    Column(
        "clips/background", "str", ("M",), "1", None, False,
        "Name of the real clip that is shown around the wire; empty where the whole picture was generated.",
    ),
    Column(
        "clips/background_patient", "str", ("M",), "1", None, False,
        "Patient who is shown; empty where the whole picture was generated.",
    ),
    Column(
        "clips/background_start", "int64", ("M",), "frame", (0, _INFINITY), False,
        "First frame of the background that is shown; 0 where the whole picture was generated.",
    ),
    Column(
        "clips/contrast", "float32", ("M",), "1", (0, _INFINITY), False,
        "Power of the wire's attenuation: 1 as generated, below 1 fainter, above 1 plainer.",
    ),
    Column(
        "clips/attenuation_cnr", "float32", ("M",), "1", None, True,
        "Drop of the signal by the drawn wire along its mask over the local noise, median over the frames; NaN where "
        "it can't be measured.",
    ),
    Column(
        "clips/hard", "bool", ("M",), "1", None, False,
        "Whether the clip was chosen because the guide fails on it.",
    ),
    Column(
        "clips/gate_dice", "float32", ("M",), "1", (0, 1), True,
        "Dice of an independent segmenter against the driving masks, mean over frames; NaN where undefined or where no "
        "independent segmenter could be trained.",
    ),
    Column(
        "clips/accepted", "bool", ("M",), "1", None, False,
        "Whether the clip passed the gate of label fidelity.",
    ),
    Column(
        "clips/reject_reason", "str", ("M",), "1", None, False,
        "Why the gate rejected the clip; empty where it was accepted.",
    ),
)

SEGMENTATION = (
    Column("arms/name", "str", ("A",), "1", None, False, "Name of the arm, unique in the artifact."),
    Column(
        "frames/probability", "float16", ("A", "N", "H", "W"), "1", (0, 1), False,
        "Predicted probability that the pixel lies on the wire.",
    ),
    Column(
        "frames/source_frame", "int64", ("N",), "row", (0, _INFINITY), False,
        "Row of the frame in the source artifact's frames table.",
    ),
    Column(
        "clips/source_clip", "int64", ("M",), "row", (0, _INFINITY), False,
        "Row of the clip in the source artifact's clips table.",
    ),
    *CLIP_TABLE,
)
