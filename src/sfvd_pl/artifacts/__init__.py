"""Artifacts: what passes from one stage to the next, as HDF5 files that say what they are.

Write one with ``ArtifactWriter``: it appears under its name only when it is whole and verified. Read it with
``Artifact.open``, which checks it cheaply, opens the file lazily in each process, and can go to the workers
of a DataLoader. Check it to the last byte with ``verify``. Make a long one in pieces with ``ShardSet``, so
that a stopped run goes on where it was, and with ``SharedWork`` by several processes. ``SCHEMAS`` says what
every column holds, and ``docs/artifacts.md`` shows it as tables::

    provenance = Provenance(seed=0, config=config, parents={"source": content_hash(source)},
    patients=patients) with ArtifactWriter("scenes.h5", Kind.SCENES, provenance) as writer:
        writer.append("clips/scene", scenes)
        ...
    artifact = Artifact.open("scenes.h5", Kind.SCENES)
    artifact.clip_rows("frames/wire_mask", clip=3)  # (T, H, W)
    problems = verify("scenes.h5")  # [] when it holds

This package is the only user of h5py.
"""

from sfvd_pl.artifacts.columns import AXES, Column
from sfvd_pl.artifacts.leases import LEASE_SECONDS, place, process_started
from sfvd_pl.artifacts.lineage import (
    mask_patients,
    refuse_seen,
    refuse_seen_by,
    require_source,
)
from sfvd_pl.artifacts.manifest import verify_shards
from sfvd_pl.artifacts.parents import file_hash, find_parents
from sfvd_pl.artifacts.partial import partial_path
from sfvd_pl.artifacts.provenance import Provenance, canonical_json, config_hash, git_commit
from sfvd_pl.artifacts.schema import SCHEMA_VERSION, SCHEMAS, Kind, Schema
from sfvd_pl.artifacts.shards import ShardSet
from sfvd_pl.artifacts.store import Artifact, content_hash
from sfvd_pl.artifacts.verify import require_whole, verify
from sfvd_pl.artifacts.work import SharedWork, merge_shards, shared_fact
from sfvd_pl.artifacts.writer import ArtifactWriter

__all__ = [
    "AXES",
    "LEASE_SECONDS",
    "SCHEMAS",
    "SCHEMA_VERSION",
    "Artifact",
    "ArtifactWriter",
    "Column",
    "Kind",
    "Provenance",
    "Schema",
    "ShardSet",
    "SharedWork",
    "canonical_json",
    "config_hash",
    "content_hash",
    "file_hash",
    "find_parents",
    "git_commit",
    "mask_patients",
    "merge_shards",
    "partial_path",
    "place",
    "process_started",
    "refuse_seen",
    "refuse_seen_by",
    "require_source",
    "require_whole",
    "shared_fact",
    "verify",
    "verify_shards",
]
