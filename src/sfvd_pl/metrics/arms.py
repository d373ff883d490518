"""Arms of a comparison of segmenters: means over seeds, intervals over patients, differences to a
reference."""

from collections.abc import Mapping, Sequence

import numpy as np

from sfvd_pl.errors import MetricsError
from sfvd_pl.metrics.arrays import finite_mean
from sfvd_pl.metrics.bootstrap import paired_bootstrap, patient_bootstrap
from sfvd_pl.metrics.segmentation import MEASURES, PatientTable


def mean_over_seeds(tables: Sequence[PatientTable]) -> dict[str, dict[str, float]]:
    """Each patient's measures averaged over repeated trainings; a value unknown in one seed is left out
    there.

    Args:
        tables: One a seed, at least one, with the same patients.

    Raises:
        MetricsError: If there is no table, or the patients differ.
    """
    if not tables or any(table.keys() != tables[0].keys() for table in tables):
        raise MetricsError(
            "the seeds of an arm were not measured on the same patients",
            key="tables",
            expected="one table a seed, with the same patients in each",
            found=[sorted(table) for table in tables],
            remedy="evaluate every seed on the same test clips",
        )
    return {
        patient: {
            name: finite_mean(np.array([table[patient][name] for table in tables])) for name in MEASURES
        }
        for patient in sorted(tables[0])
    }


def segmentation_section(
    arms: Mapping[str, Sequence[PatientTable]],
    *,
    seeds: Sequence[int],
    reference: str | None = None,
    n: int = 2000,
    seed: int = 0,
) -> dict[str, object]:
    """The section ``segmentation`` of a metrics file.

    Args:
        arms: Arm -> one table of :func:`sfvd_pl.metrics.segmentation.patient_table` for each of ``seeds``.
        seeds: Of the trainings, the same for every arm.
        reference: The arm that the others are compared with, patient by patient; None: the first.
        n: Resamples of the intervals.
        seed: Of the resampling.

    Returns:
        Means and intervals over patients of each arm, its patients' values, and the paired difference to the
        reference (absent from the reference itself).

    Raises:
        MetricsError: If there is no arm, the reference is not one, an arm has not one table a seed, or the
            arms were measured on different patients.
    """
    names = list(arms)
    chosen = reference if reference is not None else (names[0] if names else None)
    if chosen is None or chosen not in arms:
        raise MetricsError(
            "the reference arm is not there",
            key="reference",
            expected=names or "at least one arm",
            found=reference,
            remedy="name one of the arms",
        )
    for name, tables in arms.items():
        if len(tables) != len(seeds):
            raise MetricsError(
                f"arm {name!r} does not have one table a seed",
                key="arms",
                expected=f"{len(seeds)} tables",
                found=f"{len(tables)} tables",
                remedy="evaluate every seed of every arm",
            )
    means = {name: mean_over_seeds(tables) for name, tables in arms.items()}
    rows = []
    for name, table in means.items():
        row: dict[str, object] = {"name": name}
        for measure in MEASURES:
            values = {patient: measures[measure] for patient, measures in table.items()}
            row[measure] = patient_bootstrap(values, n=n, seed=seed).as_dict()
        row["patients"] = table
        if name != chosen:
            row["difference"] = _difference(table, means[chosen], chosen, n=n, seed=seed)
        rows.append(row)
    return {"n_patients": len(means[chosen]), "seeds": [int(value) for value in seeds], "arms": rows}


def _difference(
    table: PatientTable, reference: PatientTable, name: str, *, n: int, seed: int
) -> dict[str, object]:
    row: dict[str, object] = {"reference": name}
    for measure in MEASURES:
        ours = {patient: measures[measure] for patient, measures in table.items()}
        theirs = {patient: measures[measure] for patient, measures in reference.items()}
        row[measure] = paired_bootstrap(ours, theirs, n=n, seed=seed).as_dict()
    return row
