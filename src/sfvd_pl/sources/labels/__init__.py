"""Labels from files: COCO, CVAT, point lists, volumes; found, matched to recordings by name and frame, drawn."""

from sfvd_pl.sources.labels.attach import Labelled, attach_labels

__all__ = ["Labelled", "attach_labels"]
