"""The first minute of the page: what was found, in numbers and sentences, and what must not be concluded.

Sentences are made from the numbers by fixed rules, given here, so that a weak result reads as one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NOISE_TOLERANCE = 0.1
"""Residual noise further than this from the real one's (as a share) is called different."""
GRAIN_TOLERANCE = 0.1
"""A lag-1 autocorrelation further than this above the real one's is called frozen grain."""
DRIFT_TOLERANCE = 0.1
"""A last frame that scores worse than the first by more than this share is called drift."""
FEW_PATIENTS = 10
"""With fewer patients, an interval over patients rests on the assumption that they are spread as a bell is."""
SIGNIFICANT = 0.05
"""A test whose corrected p is above it shows nothing."""


@dataclass(frozen=True)
class Finding:
    """What was found about one topic, in a sentence or two."""

    topic: str
    text: str


@dataclass(frozen=True)
class Tile:
    """One number at the top of the page: what it is, the number, and what it stands beside."""

    label: str
    value: str
    detail: str


def number(value: float | int | None, digits: int = 2) -> str:
    """A number for reading, a dash where it is not known."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{digits}f}"


def signed(value: float | int | None, digits: int = 2) -> str:
    """A difference for reading, with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def interval(row: Mapping[str, Any], key: str = "mean", digits: int = 2) -> str:
    """``0.71 (0.65 to 0.77)``, or the number alone where the interval is not known."""
    text = number(row[key], digits)
    if row["low"] is None or row["high"] is None:
        return text
    return f"{text} ({number(row['low'], digits)} to {number(row['high'], digits)})"


def duration(seconds: float | int | None) -> str:
    """Seconds, minutes or hours, for reading."""
    if seconds is None:
        return "–"
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def tiles(metrics: Mapping[str, Any]) -> list[Tile]:
    """The numbers at the top of the page, one a section that was measured."""
    found = []
    if fidelity := metrics.get("label_fidelity"):
        made, real, chance = (dice_of(fidelity, name)["mean"] for name in ("synthetic", "real", "shuffled"))
        detail = f"real clips {number(real)}, chance {number(chance)}"
        found.append(Tile("Label fidelity (Dice)", number(made), detail))
    if noise := metrics.get("noise"):
        grain = noise["residual_autocorrelation"]
        detail = f"frame-to-frame correlation {signed(grain['difference'])} against real"
        found.append(Tile("Noise, synthetic / real", number(noise["residual_std"]["ratio"]), detail))
    if visibility := metrics.get("visibility"):
        detail = f"rank correlation, requested against measured, {visibility['n']} clips"
        found.append(Tile("Visibility obeyed", number(visibility["spearman"]), detail))
    if gate := metrics.get("gate"):
        rate = "–" if gate["rate"] is None else f"{100 * gate['rate']:.0f} %"
        found.append(Tile("Clips accepted", rate, f"{gate['accepted']} of {gate['n']} passed the gate"))
    if (segmentation := metrics.get("segmentation")) and segmentation["arms"]:
        first, *others = segmentation["arms"]
        detail = ", ".join(
            [first["name"], *(f"{arm['name']} {number(arm['dice']['mean'])}" for arm in others)]
        )
        found.append(Tile("Segmentation (Dice)", number(first["dice"]["mean"]), detail))
    return found


def findings(metrics: Mapping[str, Any]) -> list[Finding]:
    """What was found, a sentence or two for each section that was measured."""
    rules = {
        "label_fidelity": ("Labels", _labels),
        "noise": ("Noise", _noise),
        "visibility": ("Visibility", _visibility),
        "gate": ("Gate", _gate),
        "segmentation": ("Segmentation", _segmentation),
    }
    return [
        Finding(topic, text)
        for section, (topic, rule) in rules.items()
        for text in (rule(metrics[section]) if metrics.get(section) else ["not measured in this run."])
    ]


def fidelity_row(section: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The row of ``label_fidelity`` with this name; empty where there is none."""
    return next((row for row in section["rows"] if row["name"] == name), {})


def dice_of(section: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Dice of a row of ``label_fidelity`` with its interval; all unknown where there is no such row."""
    unknown = {"mean": None, "low": None, "high": None}
    found: Mapping[str, Any] = fidelity_row(section, name).get("dice", unknown)
    return found


def _labels(section: Mapping[str, Any]) -> list[str]:
    text = (
        "an independent segmenter found the wire of synthetic clips where their masks say, with Dice "
        f"{interval(dice_of(section, 'synthetic'))}; on held-out real clips it reached "
        f"{interval(dice_of(section, 'real'))}. Against the masks of other clips it scores "
        f"{number(dice_of(section, 'shuffled')['mean'])}."
    )
    drift = fidelity_row(section, "synthetic")["drift"]
    if drift is not None and drift < 1 - DRIFT_TOLERANCE:
        text += (
            f" The label is lost as a clip goes on: its last frame scores {number(drift)} times its first."
        )
    return [text]


def _noise(section: Mapping[str, Any]) -> list[str]:
    ratio = section["residual_std"]["ratio"]
    difference = section["residual_autocorrelation"]["difference"]
    text = f"synthetic clips carry {number(ratio)} times the fine noise of real ones"
    if ratio is not None and ratio < 1 - NOISE_TOLERANCE:
        text += ", so they are smoother than they should be, and label fidelity is flattered"
    elif ratio is not None and ratio > 1 + NOISE_TOLERANCE:
        text += ", more than they should"
    text += f"; its correlation from one frame to the next differs by {signed(difference)}"
    if difference is not None and difference > GRAIN_TOLERANCE:
        text += ": grain is partly frozen"
    return [text + "."]


def _visibility(section: Mapping[str, Any]) -> list[str]:
    return [
        "what was requested and what was measured agree in order with a rank correlation of "
        f"{number(section['spearman'])} over {section['n']} clips."
    ]


def _gate(section: Mapping[str, Any]) -> list[str]:
    if not section["n"]:
        return ["no clip was generated."]
    share = f"{100 * section['rate']:.0f} %"
    return [f"{section['accepted']} of {section['n']} clips were accepted ({share})."]


def _segmentation(section: Mapping[str, Any]) -> list[str]:
    sentences = []
    for arm in section["arms"]:
        text = f"{arm['name']} reached Dice {interval(arm['dice'])} on {section['n_patients']} test patients"
        if "difference" in arm:
            text += f"; {verdict(arm['difference']['dice'])} {arm['difference']['reference']}"
        sentences.append(text + ".")
    tests = section["tests"]
    if tests["smallest_p"] is not None and tests["smallest_p_holm"] > SIGNIFICANT:
        sentences.append(
            f"with {section['n_patients']} test patients no difference can be significant: the smallest p that "
            f"a paired test can give is {number(tests['smallest_p'], 3)}, and "
            f"{number(tests['smallest_p_holm'], 3)} once corrected for {tests['family']} tests."
        )
    return sentences or ["no segmenters were compared."]


def verdict(difference: Mapping[str, Any]) -> str:
    """A paired difference in words, ending so that the reference's name may follow."""
    text = f"{signed(difference['mean'])}"
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return f"{text}, with no interval, against"
    text += f" ({signed(low)} to {signed(high)})"
    if low > 0:
        return f"{text}, higher than"
    return f"{text}, lower than" if high < 0 else f"{text}, not told apart from"


def cautions(metrics: Mapping[str, Any]) -> list[str]:
    """What must not be concluded from this page."""
    texts = [
        "This is not the published method. SF-VD's code and data are not public; the models here are a "
        "reconstruction, chosen by this project. Their numbers neither confirm nor contradict published "
        "ones.",
        "Nothing here speaks of patients or hospitals other than those whose clips were used. Where the "
        "clips come from a simulator, it speaks of no patient at all.",
        "Label fidelity is one network's opinion. Clips with too little noise are easier to segment and "
        "score too well, so read it beside the noise statistics and the shuffled control.",
        "A difference whose interval holds zero is not a difference. To pick the best of several arms here "
        "and quote its score flatters it: the choice was not made on data of its own.",
        "This is research software, not a medical device.",
    ]
    patients = (metrics.get("segmentation") or {}).get("n_patients")
    if patients is not None and patients < FEW_PATIENTS:
        few = "1 test patient is too few" if patients == 1 else f"{patients} test patients are few"
        texts.insert(3, f"{few}: intervals over patients are wide and lean on an assumption, or can't be had.")
    return texts


def mentioned(metrics: Mapping[str, Any]) -> Sequence[str]:
    """Everybody that any artifact of the run was learned from, in alphabetical order."""
    return sorted(
        {patient for stage in metrics["stages"] for made in stage["made"] for patient in made["patients"]}
    )
