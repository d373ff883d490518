"""Decoding: every layout and compression gives the stored values, as pydicom's own decoding does."""

import base64
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import ROOT, by_gdcm, jpeg, noise, rle_frames, smooth, write_dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate_extended
from pydicom.pixels.decoders.base import get_decoder

from sfvd_pl.errors import SourceError
from sfvd_pl.sources import Clip
from sfvd_pl.sources.dicom.scan import DicomConfig, scan_dicom


def read(path: Path, **config: object) -> Clip:
    """The only clip of a file."""
    (run,) = scan_dicom([path], DicomConfig(**config), "a secret")
    clip = run.read()
    assert clip.intensity_max == run.intensity_max and clip.frame_shape == run.frame_shape
    return clip


def source_values(clip: Clip) -> np.ndarray:
    """The way back that a clip documents."""
    return clip.source_scale * clip.image.astype(np.float64) + clip.source_offset


def by_pydicom(path: Path, plugin: str = "") -> np.ndarray:
    """pydicom's own decoding, (T, H, W)."""
    ds = pydicom.dcmread(path)
    array, _ = get_decoder(ds.file_meta.TransferSyntaxUID).as_array(ds, raw=True, decoding_plugin=plugin)
    return array if ds.get("NumberOfFrames", 1) > 1 else array[None]


@given(
    bits=st.integers(8, 16),
    room=st.integers(0, 8),
    signed=st.booleans(),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    sign=st.sampled_from([None, 1, -1]),
    slope=st.sampled_from([None, 1.0, 0.25, -2.0]),
    syntax=st.sampled_from(
        [
            uid.ImplicitVRLittleEndian,
            uid.ExplicitVRLittleEndian,
            uid.ExplicitVRBigEndian,
            uid.DeflatedExplicitVRLittleEndian,
            uid.RLELossless,
        ]
    ),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
@settings(max_examples=150)
def test_any_bits_sign_and_polarity(
    tmp_path_factory, bits, room, signed, photometric, sign, slope, syntax, shape, seed
) -> None:
    path = tmp_path_factory.mktemp("any") / "x.dcm"
    values = noise(shape, bits, signed, seed)
    allocated = 8 if bits == 8 and room % 2 else 16
    high_bit = min(allocated - 1, bits - 1 + room)
    elements = {}
    if slope is not None:
        elements.update(RescaleSlope=slope, RescaleIntercept=-7.5)
    if sign is not None:
        elements["PixelIntensityRelationshipSign"] = sign
    description = {"bits": bits, "allocated": allocated, "high_bit": high_bit, "signed": signed}
    described = {**description, "photometric": photometric, "elements": elements, "rubbish": 0xA5A5}
    write_dicom(path, values, **described)
    if syntax == uid.RLELossless:
        frames = rle_frames(pydicom.dcmread(path))
        write_dicom(path, values, syntax=syntax, frames=frames, **described)
    elif syntax != uid.ExplicitVRLittleEndian:
        write_dicom(path, values, syntax=syntax, **described)
    clip = read(path)
    modality = values if slope is None else slope * values - 7.5
    assert np.array_equal(source_values(clip), modality), "the documented way back"
    assert clip.intensity_max == 2**bits - 1
    assert clip.image.dtype == (np.uint8 if bits == 8 else np.uint16)
    # the wire: little X-ray. By the sign, or as it is displayed: dark
    shown_dark = (photometric == "MONOCHROME2") == (slope is None or slope > 0)
    low_is_dark = shown_dark if sign is None else sign == 1
    low = -(2 ** (bits - 1)) if signed else 0
    darkest = values == (low if low_is_dark else low + 2**bits - 1)
    assert darkest.any() == (clip.image == 0).any() and (clip.image[darkest] == 0).all()
    assert (clip.source_scale < 0) == ((slope is not None and slope < 0) != (not low_is_dark))


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(
    "kind", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless", "RLELossless", "JPEG2000Lossless"]
)
def test_lossless_compression_by_gdcm(tmp_path: Path, kind: str, bits: int) -> None:
    values = noise((2, 17, 23), bits)
    path = by_gdcm(write_dicom(tmp_path / "x.dcm", values, bits=bits), kind)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.is_compressed
    clip = read(path)
    assert np.array_equal(clip.image, values) and np.array_equal(clip.image, by_pydicom(path))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg2000_by_openjpeg(tmp_path: Path, bits: int, signed: bool) -> None:
    pytest.importorskip("openjpeg")
    values = noise((2, 40, 51), bits, signed)
    ds = pydicom.dcmread(write_dicom(tmp_path / "x.dcm", values, bits=bits, signed=signed))
    ds.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    ds.save_as(tmp_path / "j2k.dcm")
    clip = read(tmp_path / "j2k.dcm")
    assert np.array_equal(source_values(clip), values)
    assert np.array_equal(source_values(clip), by_pydicom(tmp_path / "j2k.dcm"))


def test_jpeg2000_lossy_is_what_pydicom_decodes(tmp_path: Path) -> None:
    pytest.importorskip("openjpeg")
    values = smooth((2, 40, 50), 12)
    ds = pydicom.dcmread(write_dicom(tmp_path / "x.dcm", values, bits=12))
    ds.compress(uid.JPEG2000, j2k_cr=[12], generate_instance_uid=False)
    ds.save_as(tmp_path / "j2k.dcm")
    clip = read(tmp_path / "j2k.dcm")
    assert np.array_equal(clip.image, by_pydicom(tmp_path / "j2k.dcm", "pylibjpeg"))
    assert 0 < np.abs(clip.image.astype(int) - values).max() < 200


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit])
@pytest.mark.parametrize("allocated", [8, 16])
def test_jpeg_of_eight_bit(tmp_path: Path, syntax: str, allocated: int) -> None:
    values = smooth((3, 24, 32), 8)
    frames = [jpeg(frame) for frame in values]
    path = write_dicom(tmp_path / "x.dcm", values, syntax=syntax, frames=frames, allocated=allocated)
    clip = read(path)
    assert np.abs(clip.image.astype(int) - values).max() <= 4
    if allocated == 8:
        assert np.array_equal(clip.image, by_pydicom(path, "pillow"))


def test_frames_in_fragments_and_with_an_extended_offset_table(tmp_path: Path) -> None:
    values = smooth((2, 24, 32), 8)
    frames = [jpeg(frame) for frame in values]
    path = write_dicom(tmp_path / "x.dcm", values, syntax=uid.JPEGBaseline8Bit, frames=frames)
    whole = read(path)
    ds = pydicom.dcmread(path)
    ds.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=3, has_bot=True)
    ds.save_as(tmp_path / "fragments.dcm")
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    ds.save_as(tmp_path / "extended.dcm")
    for name in ("fragments.dcm", "extended.dcm"):
        assert np.array_equal(read(tmp_path / name).image, whole.image), name


def test_without_preamble_the_encoding_is_recognised(tmp_path: Path) -> None:
    values = noise((2, 5, 6), 12)
    for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        path = write_dicom(tmp_path / f"{syntax}.dcm", values, bits=12, syntax=syntax, preamble=False)
        assert np.array_equal(read(path).image, values), syntax.name


def test_big_endian_bytes_in_words(tmp_path: Path) -> None:
    values = noise((2, 3, 4), 8)
    path = write_dicom(tmp_path / "x.dcm", values, syntax=uid.ExplicitVRBigEndian)
    ds = pydicom.dcmread(path)
    ds["PixelData"].VR = "OW"
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").byteswap().tobytes()
    ds.save_as(path)
    assert np.array_equal(read(path).image, values)


def colour_file(path: Path, grey: np.ndarray, photometric: str, spread: int = 0) -> Path:
    """A file of RGB or YBR_FULL frames; ``spread`` sets the colours apart."""
    write_dicom(path, grey)
    ds = pydicom.dcmread(path)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, photometric, 0
    if photometric == "RGB":
        parts = [grey + spread, grey, grey]
    else:
        parts = [grey, np.full_like(grey, 128 + spread), np.full_like(grey, 128)]
    ds.PixelData = np.stack(parts, axis=-1).astype(np.uint8).tobytes()
    ds.save_as(path)
    return path


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_grey_in_disguise(tmp_path: Path, photometric: str) -> None:
    grey = np.minimum(noise((2, 6, 8), 8), 200)
    assert np.array_equal(read(colour_file(tmp_path / "x.dcm", grey, photometric)).image, grey)
    slightly = read(colour_file(tmp_path / "y.dcm", grey, "RGB", spread=3)).image
    assert np.array_equal(slightly, grey + 1)
    with pytest.raises(SourceError, match="colour picture"):
        read(colour_file(tmp_path / "z.dcm", grey, photometric, spread=20))


def test_planes_one_after_another(tmp_path: Path) -> None:
    grey = noise((2, 6, 8), 8)
    ds = pydicom.dcmread(colour_file(tmp_path / "x.dcm", grey, "RGB"))
    ds.PlanarConfiguration = 1
    ds.PixelData = np.stack([grey] * 3, axis=1).astype(np.uint8).tobytes()
    ds.save_as(tmp_path / "y.dcm")
    assert np.array_equal(read(tmp_path / "y.dcm").image, grey)


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"BitsStored": 7, "HighBit": 6}, "numbers"),
        ({"BitsStored": 17, "HighBit": 16, "BitsAllocated": 32}, "numbers"),
        ({"PixelRepresentation": 2}, "numbers"),
        ({"BitsAllocated": 32}, "don't fit"),
        ({"HighBit": 6}, "don't fit"),
        ({"HighBit": 8}, "don't fit"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "grey picture"),
        ({"PhotometricInterpretation": None}, "grey picture"),
        ({"SamplesPerPixel": 3}, "isn't read|not a picture that is read"),
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "CMYK"}, "not a picture that is read"),
        ({"Rows": None}, "what its pixels look like"),
        ({"BitsAllocated": None}, "what its pixels look like"),
        ({"Rows": 0}, "absurd size"),
        ({"NumberOfFrames": 0}, "absurd size"),
        ({"NumberOfFrames": -3}, "absurd size"),
        ({"Rows": 60000, "Columns": 60000}, "absurd size"),
        ({"NumberOfFrames": 2**30}, "too large"),
        ({"NumberOfFrames": 3}, "cut short"),
        ({"Columns": 9}, "cut short"),
        ({"NumberOfFrames": 1}, "more frames"),
    ],
)
def test_pixels_that_are_not_read(tmp_path: Path, elements: dict, says: str) -> None:
    path = tmp_path / "x.dcm"
    ds = pydicom.dcmread(write_dicom(path, noise((2, 6, 8), 8)))
    for keyword, value in elements.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    ds.save_as(path)
    with pytest.raises(SourceError, match=says) as caught:
        read(path)
    assert caught.value.file == str(path) and caught.value.key


def test_too_large_is_a_setting(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", noise((2, 6, 8), 12), bits=12)
    assert len(read(path, max_clip_bytes=2 * 6 * 8 * 2)) == 2
    with pytest.raises(SourceError, match="too large"):
        read(path, max_clip_bytes=2 * 6 * 8 * 2 - 1)


@pytest.mark.parametrize(("says_frames", "says"), [(4, "missing|fragments"), (2, "more frames")])
def test_a_wrong_number_of_compressed_frames(
    tmp_path: Path, says_frames: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_decoder(uid.JPEGBaseline8Bit), "_available", {"pillow": None})  # isn't called
    frames = [jpeg(frame) for frame in smooth((3, 8, 8), 8)]
    for has_table in (False, True):
        path = write_dicom(tmp_path / "x.dcm", np.zeros((3, 8, 8)), syntax=uid.JPEGBaseline8Bit, frames=frames)
        ds = pydicom.dcmread(path)
        ds.PixelData = pydicom.encaps.encapsulate(frames, has_bot=has_table)
        ds.NumberOfFrames = says_frames
        ds.save_as(path)
        with pytest.raises(SourceError, match=says):
            read(path)


def test_a_compressed_frame_of_another_size(tmp_path: Path) -> None:
    frames = [jpeg(np.zeros((8, 8))), jpeg(np.zeros((8, 16)))]
    path = write_dicom(tmp_path / "x.dcm", np.zeros((2, 8, 8)), syntax=uid.JPEGBaseline8Bit, frames=frames)
    with pytest.raises(SourceError, match="frame 2 differs"):
        read(path)


def test_a_codestream_deeper_than_the_header_says(tmp_path: Path) -> None:
    path = by_gdcm(write_dicom(tmp_path / "x.dcm", noise((1, 9, 9), 12), bits=12), "JPEGLosslessProcess14_1")
    ds = pydicom.dcmread(path)
    ds.BitsStored, ds.HighBit = 10, 9
    ds.save_as(path)
    with pytest.raises(SourceError, match="beyond the bits stored"):
        read(path)


def test_a_missing_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = by_gdcm(write_dicom(tmp_path / "x.dcm", noise((1, 9, 9), 12), bits=12), "JPEGLosslessProcess14_1")
    monkeypatch.setattr(get_decoder(uid.JPEGLosslessSV1), "_available", {})
    with pytest.raises(SourceError, match="no decoder") as caught:
        read(path)
    assert "python-gdcm" in str(caught.value) and "pip install 'sfvd-pl[dicom]'" in str(caught.value)


TWELVE_BIT = base64.b64decode(
    "/9j/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/wQALDAAQ"
    "ABgBAREA/8QAFwAAAwEAAAAAAAAAAAAAAAAACQoNC//EACQQAAAEBQQDAQAAAAAAAAAAAAECAwYEBQcJCgALDBEIE0Ex/9oACAEBAAA/"
    "AN1Tj1vKzcbnZ3rTNKrfF0ry1YbMnjAbMFLI2GcU6QQOQ6KRSCAgoYPoaJPvoHMgMV3dVrMFSrZtt7zRpy7XA92nFymEhZDPoZc5jqom"
    "IAABDD9HU+u3+biO+Tdu6N36qNxq2L4f1AeMhfjpjJpBxLekcQuQxFlTHAQEhR+DpMrmQ+drm248uQ35AUksGv6rctasqfUzQlZGXExZ"
    "EwTKucC9eoevzQQeKLbiXn731cnCh9Fr2VSK0zBnzOocvQmKbtio0yQpGiCAbv2j111qxIcQbwCsFe//AI39Bqw32Ke0emLtmrClq8zO"
    "8YWDMqKpocgm79od/o6//9kA"
)
"""JPEG Extended of 12 bit: the picture of ``twelve_bit``, quality 95, written by GDCM."""


def twelve_bit() -> np.ndarray:
    """A made-up picture of 16 x 24 pixels."""
    y, x = np.mgrid[:16, :24]
    return (2048 + 1500 * np.sin(x / 5.0) * np.cos(y / 4.0)).astype(np.uint16)[None]


@pytest.mark.parametrize("scan", [b"\x00\x3f\x00", b"\x00\x00\x00"])
def test_jpeg_of_twelve_bit(tmp_path: Path, scan: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gdcm")
    picture = twelve_bit()
    k = TWELVE_BIT.index(b"\xff\xda") + 7
    assert TWELVE_BIT[k : k + 3] == b"\x00\x3f\x00"
    frame = TWELVE_BIT[:k] + scan + TWELVE_BIT[k + 3 :]  # some encoders leave these fields, without a meaning here, 0
    path = write_dicom(tmp_path / "x.dcm", picture, bits=12, syntax=uid.JPEGExtended12Bit, frames=[frame])
    clip = read(path)
    # libjpeg, which is another implementation, differs from the picture by at most 4, and GDCM from that by at most 1
    assert np.abs(clip.image.astype(int) - picture).max() <= 5 and clip.intensity_max == 4095
    assert capfd.readouterr().err == ""


def test_jpeg_of_twelve_bit_names_its_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_decoder(uid.JPEGExtended12Bit), "_available", {"pillow": None})  # 8 bit only
    path = write_dicom(
        tmp_path / "x.dcm", twelve_bit(), bits=12, syntax=uid.JPEGExtended12Bit, frames=[TWELVE_BIT]
    )
    with pytest.raises(SourceError, match="no decoder") as caught:
        read(path)
    for text in ("python-gdcm", "pip install 'sfvd-pl[dicom]'", "pylibjpeg-libjpeg", "GPL"):
        assert text in str(caught.value)


def test_other_compression_is_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x.dcm", np.zeros((1, 8, 8)), syntax=uid.MPEG4HP41, frames=[b"\0" * 100])
    with pytest.raises(SourceError, match="compression that isn't read") as caught:
        read(path)
    assert "MPEG-4" in str(caught.value)
    path = write_dicom(tmp_path / "y.dcm", np.zeros((1, 8, 8)), syntax=f"{ROOT}.4", frames=[b"\0" * 100])
    with pytest.raises(SourceError, match="compression that isn't read"):
        read(path)
