import hashlib
from pathlib import Path

from toy import rewritten

from sfvd_pl.pipeline.hashing import file_hash


def test_a_file_by_its_bytes_and_an_artifact_by_its_content(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"weights")
    assert file_hash(path) == hashlib.sha256(b"weights").hexdigest()
    again = rewritten(source, tmp_path / "again.h5")
    assert again.read_bytes() != source.read_bytes()
    assert file_hash(again) == file_hash(source)
