"""The first minute of the page: questions with answers, and what must not be concluded.

An answer follows from the numbers by the rules and limits given here, which the page states beside it, so that a weak
result reads as one and a missing one as unknown. The limits are this project's choice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sfvd_pl.report.numbers import interval, middle, number, percent, signed
from sfvd_pl.report.sections.chain import SOURCE_NAME
from sfvd_pl.report.sections.features import feature_reasons
from sfvd_pl.report.sections.memorisation import about_bands, planted_recall
from sfvd_pl.report.sections.rows import all_rows, is_estimate
from sfvd_pl.report.sections.verdict import difference
from sfvd_pl.report.sections.wire import NO_SECOND, gate_rules
from sfvd_pl.report.views import Answer, Reason, Verdict

NOISE_TOLERANCE = 0.1
"""Noise or contrast further than this from the real ones' (as a share) is called different."""
GRAIN_TOLERANCE = 0.1
"""A lag-1 autocorrelation further than this above the real ones' is called frozen grain."""
MOTION_TOLERANCE = 0.25
"""Flicker, or what optical flow leaves, further than this from the real ones' (as a share) is called different."""
FIDELITY = 0.9
"""Share of the real clips' label fidelity that synthetic ones must reach."""
CHANCE = 0.25
"""Shuffled masks must score below this share of the true ones, or the score says little."""
DRIFT_TOLERANCE = 0.1
"""A last frame that scores worse than the first by more than this share is called drift."""
OFFSET_PX = 0.5
"""A wire further from its mask than a real one by more than this isn't where it should be."""
CAUGHT = 0.95
"""Share of planted copies that must be caught, or finding none says little."""
SIGNIFICANT = 0.05
"""A test whose corrected p is above it shows nothing."""
FEW_PATIENTS = 10
"""With fewer patients, an interval over patients is wide and rests on assumptions."""

UNTESTED = ("there are no test patients", "no test patient has labels")
"""How a reason begins that a section wasn't measured for."""
UNKNOWN_HELP = "How these clips compare with unseen patients' and whether they help cannot be known from this run."
RIVALS: Mapping[str, str] = {
    "paste": "wires rendered into real frames, which takes no generator",
    "pseudo": "self-training on the unlabelled frames",
}
"""Arms that cost less than generated clips, which have to beat them."""


def notes(metrics: Mapping[str, Any]) -> list[str]:
    """What a reader has to know before any number."""
    texts = []
    made = metrics["sets"].get("synthetic", {})
    if backgrounds := made.get("backgrounds"):
        shown = sum(backgrounds.values())
        texts.append(
            f"These clips show real patients: {shown} of {made['clips']} synthetic clips have a real training clip of "
            f"patients {', '.join(sorted(backgrounds))} as their background. Share them as you would share those clips."
        )
    elif backgrounds is not None:
        texts.append("The background of every synthetic clip was generated: none shows a real clip.")
    gate = metrics.get("gate")
    if gate and gate["dice"] is None:
        texts.append(NO_SECOND)
    why = metrics["not_measured"].get("segmentation", "")
    texts += [f"{begin.capitalize()}. {UNKNOWN_HELP}" for begin in UNTESTED if why.startswith(begin)]
    return texts


def verdicts(metrics: Mapping[str, Any]) -> list[Verdict]:
    """The four questions with their answers."""
    return [_looks(metrics), _labels(metrics), _helps(metrics), _copies(metrics)]


def _row(section: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    return next((row for row in all_rows(section) if row["name"] == name), {}) if section else {}


def _value(row: Mapping[str, Any], key: str) -> float | None:
    return middle(row[key]) if is_estimate(row.get(key)) else None


def _looks(metrics: Mapping[str, Any]) -> Verdict:
    """Grain, contrast, motion and features against real clips."""
    reasons = []
    if noise := metrics.get("noise"):
        ratio, contrast = noise["residual_std"]["ratio"], noise["pixel_std"]["ratio"]
        grain = noise["residual_autocorrelation"]["difference"]
        reasons += [
            Reason(_near_one(ratio, NOISE_TOLERANCE), f"fine noise is {number(ratio)} times that of real clips"),
            Reason(_near_one(contrast, NOISE_TOLERANCE), f"contrast is {number(contrast)} times that of real clips"),
            Reason(
                None if grain is None else grain <= GRAIN_TOLERANCE,
                f"grain is correlated from frame to frame by {signed(grain)} against real clips",
            ),
        ]
    motion = metrics.get("motion")
    for key, words in (("warp_ratio", "what optical flow leaves"), ("local_flicker", "flicker")):
        made, real = (_value(_row(motion, name), key) for name in ("synthetic", "real"))
        if made is not None and real:
            share = made / real
            reasons.append(
                Reason(_near_one(share, MOTION_TOLERANCE), f"{words} is {number(share)} times that of real clips")
            )
    reasons += feature_reasons(metrics.get("image"), "frames") + feature_reasons(metrics.get("video"), "clips")
    compared = bool(reasons)
    reasons = reasons or _unmeasured(metrics, ("noise",))
    if (seam := metrics.get("seam")) and (ratio := _value(seam["rows"][0], "std_ratio")) is not None:
        text = f"grain at the edge of what was drawn is {number(ratio)} times that of the same real frames"
        # The edge alone doesn't make a clip look right.
        reasons.append(Reason(_near_one(ratio, NOISE_TOLERANCE) if compared else None, text))
    rule = (
        f"Noise, contrast and seam within {percent(NOISE_TOLERANCE)} of real clips, frame-to-frame correlation at most "
        f"{number(GRAIN_TOLERANCE, 1)} above theirs, motion within {percent(MOTION_TOLERANCE)}; feature distances "
        "below those of other real patients' clips with blur or noise. All hold: yes; fewer than half: no."
    )
    return _judged(
        "Does it look right?",
        reasons,
        {"yes": "Yes, in all that was measured", "partly": "Only in part", "no": "No", "unknown": "Unknown"},
        rule,
    )


def _labels(metrics: Mapping[str, Any]) -> Verdict:
    """Label fidelity against real clips and chance, drift, and the wire's place."""
    reasons = []
    if fidelity := metrics.get("label_fidelity"):
        made, real, chance = (_row(fidelity, name) for name in ("synthetic", "real", "shuffled"))
        ratio, drift = fidelity["ratio"]["dice"], made["drift"]
        reasons.append(
            Reason(
                None if ratio is None else ratio >= FIDELITY,
                f"an independent segmenter finds the wire with Dice {interval(made['dice'])}, in real clips with "
                f"{interval(real['dice'])}: {number(ratio)} of it",
            )
        )
        found, guessed = _value(made, "dice"), _value(chance, "dice")
        if found is not None and guessed is not None:
            text = f"with the masks of other clips it scores {number(guessed)}"
            reasons.append(Reason(guessed <= CHANCE * found, text))
        reasons.append(
            Reason(
                None if drift is None else drift >= 1 - DRIFT_TOLERANCE,
                f"the last frame scores {number(drift)} times the first",
            )
        )
    offsets = [_value(_row(metrics.get("wire"), name), "offset_px") for name in ("synthetic", "real")]
    if offsets[0] is not None and offsets[1] is not None:
        text = f"the wire lies {number(offsets[0])} px from its mask, in real clips {number(offsets[1])} px"
        reasons.append(Reason(offsets[0] <= offsets[1] + OFFSET_PX, text))
    if gate := metrics.get("gate"):
        text = f"the gate accepted {gate['accepted']} of {gate['n']} clips"
        reasons.append(Reason(None, f"{text}. {gate_rules(gate)}"))
    rule = (
        f"Dice at least {percent(FIDELITY)} of that in real clips, other clips' masks below {percent(CHANCE)} of "
        f"it, last frame at least {percent(1 - DRIFT_TOLERANCE)} of the first, wire at most {number(OFFSET_PX, 1)} "
        "px further off than in real clips. All hold: yes; fewer than half: no."
    )
    words: dict[Answer, str] = {"yes": "Yes", "partly": "Not in every respect", "no": "No", "unknown": "Unknown"}
    if not metrics.get("label_fidelity"):
        reasons = _unmeasured(metrics, ("label_fidelity",)) + reasons
    return _judged("Do the labels hold?", reasons, words, rule)


def _helps(metrics: Mapping[str, Any]) -> Verdict:
    """Arms that learned from synthetic clips against the reference."""
    question = "Did it help segmentation?"
    rule = (
        "Arms trained on the same real clips, with the same number of steps. Yes or no: Dice is higher or lower "
        f"than that of the reference, with a corrected p of a paired test over patients of at most {SIGNIFICANT}."
    )
    section = metrics.get("segmentation")
    if not section or not section["arms"]:
        why = metrics["not_measured"].get("segmentation", "")
        words = next((f"It cannot be known: {begin}" for begin in UNTESTED if why.startswith(begin)), "Not measured")
        return Verdict(question, "unknown", words, _unmeasured(metrics, ("segmentation",)), rule)
    p_of = {row["arm"]: row["p_holm"] for row in section["tests"]["rows"] if row["measure"] == "dice"}
    reasons, better, worse, leaning = [], [], [], list[str]()
    patients = {arm["name"]: {name: row["dice"] for name, row in arm["patients"].items()} for arm in section["arms"]}
    for arm in section["arms"]:
        text = f"{arm['name']}: Dice {interval(arm['dice'])}"
        holds = None
        if "difference" in arm:
            row, p = arm["difference"]["dice"], p_of.get(arm["name"])
            text += f"; {difference(row)} than {arm['difference']['reference']}".replace(
                "not told apart than", "not told apart from"
            ).replace("no interval than", "no interval, against")
            text += f", corrected p {number(p, 3)}" if p is not None else ""
            known = row["low"] is not None
            if arm["name"] in ("synthetic", "pretrain"):
                shown = known and p is not None and p <= SIGNIFICANT
                holds = row["mean"] > 0 if shown else None
                better += [arm["name"]] if holds else []
                worse += [arm["name"]] if holds is False else []
                leaning.append(signed(row["mean"])[0] if known and not row["low"] <= 0 <= row["high"] else "")
        if arm["name"] in RIVALS:
            text += f" (a rival: {RIVALS[arm['name']]}{_ahead(patients, arm['name'])})"
        reasons.append(Reason(holds, text))
    smallest = section["tests"]["smallest_p_holm"]
    if smallest is not None and smallest > SIGNIFICANT:
        text = f"with {section['n_patients']} test patients no difference can be significant: p is at best "
        text += number(smallest, 3)
        reasons.append(Reason(None, text))
    if better:
        return Verdict(question, "yes", f"Yes: {' and '.join(better)}", reasons, rule)
    if worse:
        return Verdict(question, "no", f"No: {' and '.join(worse)} did worse", reasons, rule)
    words = "Not shown"
    if leaning and len(set(leaning)) == 1 and leaning[0]:
        words += "; if anything, it did better" if leaning[0] == "+" else "; if anything, it did worse"
    return Verdict(question, "unknown", words, reasons, rule)


def _ahead(patients: Mapping[str, Mapping[str, float | None]], rival: str) -> str:
    """By how much synthetic clips are ahead of a rival, over the patients of both."""
    pairs = [(dice, patients[rival][name]) for name, dice in patients.get("synthetic", {}).items()]
    gaps = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    return f"; synthetic is {signed(sum(gaps) / len(gaps), 3)} from it" if gaps else ""


def _copies(metrics: Mapping[str, Any]) -> Verdict:
    """Clips nearer to a training clip than independent real clips ever are."""
    question = "Is anything copied from training clips?"
    rule = (
        "A copy is nearer to a training clip than a limit that independent real clips keep. No copy: none is "
        f"found, and planted copies, exact, noised or shifted, are caught in at least {percent(CAUGHT)} of all cases."
    )
    section = metrics.get("memorisation")
    if not section:
        return Verdict(question, "unknown", "Not measured", _unmeasured(metrics, ("memorisation",)), rule)
    made, judged = _row(section, "synthetic"), section["judged"]
    if not judged["whole"]:
        reasons = [
            Reason(None, about_bands(judged)),
            Reason(made["copies"] == 0, f"{made['copies']} of {made['n']} drawn wires repeat a training clip's wire"),
        ]
        words = "Every clip shows a real training clip, on purpose"
        if made["copies"]:
            return Verdict(question, "no", f"{words}; copied drawn wires: {made['copies']}", reasons, rule)
        return Verdict(question, "partly", f"{words}; of the drawn wires none was found to be a copy", reasons, rule)
    unknown = sum(clip["verdict"] == "unknown" for clip in section["clips"])
    share = f"at most {percent(made['share']['high'])} of such clips, by the interval"
    reasons = [Reason(made["copies"] == 0, f"{made['copies']} of {made['n']} clips are called copies ({share})")]
    planted = {kind: recall for kind, recall in planted_recall(section) if kind in ("exact", "noised", "shifted")}
    caught = all(recall is not None and recall >= CAUGHT for recall in planted.values()) and bool(planted)
    found = ", ".join(f"{kind} {percent(recall)}" for kind, recall in planted.items())
    if judged["wire"] + judged["lent"]:
        reasons.append(Reason(None, about_bands(judged)))
    reasons.append(Reason(caught, f"planted copies that were caught: {found or 'none were planted'}"))
    if unknown:
        reasons.append(Reason(None, f"{unknown} clips could not be judged: too few real clips to calibrate on"))
    if made["copies"]:
        return Verdict(question, "no", f"Yes: {made['copies']} of {made['n']} clips", reasons, rule)
    if not caught or unknown:
        return Verdict(question, "partly", "No copy was found, but the search is not reliable here", reasons, rule)
    return Verdict(question, "yes", "No copy was found", reasons, rule)


def _unmeasured(metrics: Mapping[str, Any], names: Sequence[str]) -> list[Reason]:
    why = metrics["not_measured"]
    return [Reason(None, f"{name.replace('_', ' ')}: {why.get(name, 'not part of this report')}") for name in names]


def _judged(question: str, reasons: Sequence[Reason], words: Mapping[Answer, str], rule: str) -> Verdict:
    """All that is known holds: yes; fewer than half of it: no; nothing is known: unknown."""
    known = [reason.holds for reason in reasons if reason.holds is not None]
    answer: Answer = "partly"
    if not known:
        answer = "unknown"
    elif all(known):
        answer = "yes"
    elif 2 * sum(known) < len(known):
        answer = "no"
    return Verdict(question, answer, words[answer], reasons, rule)


def _near_one(ratio: float | None, tolerance: float) -> bool | None:
    return None if ratio is None else abs(ratio - 1) <= tolerance


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
        "That no copy was found does not prove that no patient can be recognised: see what the search can't see.",
        "This is research software, not a medical device.",
    ]
    patients = (metrics.get("segmentation") or {}).get("n_patients")
    if patients is not None and patients < FEW_PATIENTS:
        few = "1 test patient is too few" if patients == 1 else f"{patients} test patients are few"
        texts.insert(3, f"{few}: intervals over patients are wide and lean on an assumption, or can't be had.")
    noise = metrics.get("noise")
    if noise and (noise["residual_std"]["ratio"] or 1) < 1 - NOISE_TOLERANCE:
        texts.insert(3, "Here synthetic clips carry too little noise: their label fidelity is flattered.")
    return texts


def mentioned(metrics: Mapping[str, Any]) -> Sequence[str]:
    """Everybody that any artifact of the run was learned from, in alphabetical order.

    The source holds its patients and has learned from nobody: those of the test part are among them.
    """
    return sorted(
        {
            patient
            for stage in metrics["stages"]
            for made in stage["made"]
            if made["name"] != SOURCE_NAME
            for patient in made["patients"]
        }
    )
