"""A raw data set for nnU-Net v2, with splits by patient.

Format: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md. One case is one annotated
frame as 8 or 16 bit PNG; pixels to ignore carry nnU-Net's ignore label. Frames that nobody looked at have no label to
train on and are left out, as are training clips whose masks are for measuring only (``clips/labelled``).
"""

import hashlib
import re
from pathlib import Path

import numpy as np

from sfvd_pl.errors import ExportError
from sfvd_pl.export.clips import Item
from sfvd_pl.export.folder import write_json, write_png

FOLDS = 5
"""What nnU-Net trains. A fold that splits_final.json lacks it splits at random, frames of a patient on both sides."""
ENDING = ".png"
IGNORE_LABEL = 2
"""nnU-Net wants the highest label, called "ignore" (its documentation/ignore_label.md)."""


class NnunetExport:
    """``Dataset<id>_<name>``: imagesTr, labelsTr (training and validation), imagesTs, labelsTs (test), two JSON files.

    Fold 0 of splits_final.json is the source's own split into training and validation; the others deal the patients of
    both round. nnU-Net expects splits_final.json in its folder of preprocessed data.

    Args:
        folder: To write into.
        dataset_id: Three digits that nnU-Net knows the data set by.
        name: Letters and digits.

    Raises:
        ExportError: The id or the name is none.
    """

    def __init__(self, folder: Path, *, dataset_id: int = 501, name: str = "Wires") -> None:
        if not 1 <= dataset_id <= 999 or not re.fullmatch(r"[A-Za-z0-9]+", name):
            raise ExportError(
                "nnU-Net knows no such data set",
                key="--dataset_id, --dataset_name",
                expected="1 to 999, and a name of letters and digits",
                found=f"{dataset_id}, {name!r}",
                remedy="take an id that isn't used yet, such as 501",
            )
        self.title = f"Dataset{dataset_id:03d}_{name}"
        self.folder = folder / self.title
        self.name = name
        for part in ("imagesTr", "labelsTr"):
            (self.folder / part).mkdir(parents=True)
        self.training: dict[str, list[str]] = {}
        self.validation: set[str] = set()
        self.clip_of: dict[str, str] = {}
        self.tests = self.unlabelled = 0
        self.ignoring = False

    def add(self, item: Item) -> None:
        """Write the annotated frames of one clip."""
        clip = item.clip
        part = "Ts" if item.split == "test" else "Tr"
        usable = clip.annotated & (item.labelled or item.split != "train")
        self.unlabelled += int((~usable).sum())
        case = self._case(clip.name)
        labels = clip.wire_mask if clip.ignore is None else clip.wire_mask + IGNORE_LABEL * clip.ignore
        self.ignoring |= bool((labels[usable] == IGNORE_LABEL).any())
        for k in np.flatnonzero(usable):
            name = f"{case}_{k:05d}"
            for kind, values, suffix in (("images", clip.image, "_0000"), ("labels", labels, "")):
                (self.folder / f"{kind}{part}").mkdir(exist_ok=True)
                write_png(self.folder / f"{kind}{part}" / f"{name}{suffix}{ENDING}", values[k])
            if part == "Ts":
                self.tests += 1
                continue
            self.training.setdefault(item.group, []).append(name)
            if item.split == "val":
                self.validation.add(item.group)

    def finish(self) -> list[str]:
        """dataset.json and splits_final.json.

        Raises:
            ExportError: Fewer than two patients to train on, which can't be split.
        """
        if len(self.training) < 2:
            raise ExportError(
                "too few patients for nnU-Net to validate on others than it trains on",
                key="splits_final.json",
                expected="at least two with annotated training or validation frames",
                found=f"{len(self.training)} ({', '.join(self.training)})",
                remedy="export more clips",
            )
        cases = sum(map(len, self.training.values()))
        write_json(
            self.folder / "dataset.json",
            {
                "name": self.name,
                "description": "Guidewires in X-ray fluoroscopy, exported by sfvd-pl; one case is one frame",
                "channel_names": {"0": "fluoroscopy"},
                "labels": {"background": 0, "wire": 1, **({"ignore": IGNORE_LABEL} if self.ignoring else {})},
                "numTraining": cases,
                "file_ending": ENDING,
                "overwrite_image_reader_writer": "NaturalImage2DIO",
            },
        )
        write_json(self.folder / "splits_final.json", self._splits())
        return [
            f"{self.title}: {cases} training cases of {len(self.training)} patients, {self.tests} test cases; "
            f"{self.unlabelled} frames without a usable label left out",
            f"copy {self.title}/splits_final.json to nnUNet_preprocessed/{self.title}/ before training: nnU-Net would "
            "split by frame, not by patient",
        ]

    def _case(self, clip: str) -> str:
        """A clip's name in letters that every file system and nnU-Net understand; told apart where that joins two."""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", clip).strip("-") or "clip"
        if self.clip_of.setdefault(plain.lower(), clip) != clip:
            plain = f"{plain}-{hashlib.sha256(clip.encode()).hexdigest()[:8]}"
        return plain

    def _splits(self) -> list[dict[str, list[str]]]:
        """Cases by fold; no patient is on both sides of one."""
        patients = sorted(self.training, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        own = self.validation if 0 < len(self.validation) < len(patients) else set()
        dealt = FOLDS - 1 if own else FOLDS
        sides = [own] if own else []
        for turn in range(dealt):
            sides.append(set(patients[turn::dealt]) or {patients[turn % len(patients)]})
        return [
            {
                "train": sorted(c for p in patients if p not in side for c in self.training[p]),
                "val": sorted(c for p in patients if p in side for c in self.training[p]),
            }
            for side in sides
        ]
