"""What the simulator can be told: numbers with units, checked when they are given."""

from dataclasses import dataclass, fields

from sfvd_pl.errors import ConfigError


@dataclass(frozen=True)
class PhantomConfig:
    """Size and physics of a simulated data set.

    Pairs are ranges, (least, most), from which each run draws; probabilities and shares are shares of the runs.

    Args:
        patients: Number of patients.
        clips_per_patient: Runs of each patient, each from a C-arm angle of its own.
        frames: Frames in a run.
        height: Frame height, px.
        width: Frame width, px.
        spacing_mm: Pixel spacing at which the guidewire is drawn, mm. At 0.277 a 0.014 inch wire (0.356 mm)
            is 1.3 px wide.
        view_mm: How much life-size anatomy the frame's shorter side shows, (least, most), mm. Anatomy is
            shrunk to fit where ``view_mm`` exceeds ``spacing_mm * min(height, width)``; equal numbers are
            life size.
        fps: Frames a second, Hz.
        heart_hz: Heart rate, (least, most), Hz.
        breath_mm: Travel of the diaphragm from breathing out to breathing in, (least, most), mm.
        panning_probability: Share of runs during which the table moves.
        panning_mm_s: Speed of the table where it moves, life size, (least, most), mm/s.
        wire_mu: Attenuation of the wire's shaft, (least, most), 1/mm. Drawn log-uniformly: visibility.
        tip_density: Attenuation of the radiopaque tip coil relative to the shaft, (least, most).
        tip_shares: Shares of tips that are straight, a J, bent by 45 degrees, bent by 90 degrees; any sum.
        place_shares: Shares of wires in a coronary branch, in a branch while the catheter has slipped back into the
            aorta, just beyond the ostium, looped in the aortic root; any sum.
        second_wire_probability: Share of runs with a second wire in the same coronary. Both are wire in the mask.
        pulse_ms: Length of the X-ray pulse, (least, most), ms: a wire that moves meanwhile is smeared.
        noise_std: Quantum noise at the mean signal before the detector's blur, (least, most), in 1/255 of
            intensity_max. Dose goes with its inverse square.
        grain_px: Further blur of the noise alone, standard deviation, px: what a console's noise reduction does, which
            spares edges. 0 is none.
        structure_std: Fixed pattern left by the detector's gain calibration, at the mean signal, (least, most), in
            1/255 of intensity_max. It doesn't move with the table.
        lag: Share of a frame's detector signal that is the frame before's, (least, most).
        recursion: Share of a displayed frame that is the displayed frame before, (least, most): the console's
            temporal filter. 0 is none.
        kept_range: Share of the chest's large-scale attenuation differences left in the picture, (least,
            most): wedge filters and the console's equalisation take the rest and leave fine detail as it is.
        texture: Strength of lung vessels, airways and other fine anatomy, (least, most); at 1 a lung vessel
            attenuates as soft tissue does.
        scatter_ratio: Scattered to primary radiation behind the patient, (least, most).
        blur_px: Standard deviation of the detector's point spread, px.
        mean_level: Mean signal that the exposure control keeps, (least, most), fraction of intensity_max.
        blade_level: Signal beneath the collimator's blades, (least, most), relative to the mean signal.
        contrast_probability: Share of runs with a puff of contrast agent.
        distractor_probability: Chance of each kind of wire-like distractor: ECG lead, pacing lead, surgical
            clips, sternal wires.
        intensity_max: Largest detector value; up to 255 gives uint8, above it uint16.

    Raises:
        ConfigError: A number is outside of what the simulator can do.
    """

    patients: int = 12
    clips_per_patient: int = 4
    frames: int = 16
    height: int = 96
    width: int = 96
    spacing_mm: float = 0.277
    view_mm: tuple[float, float] = (68.0, 92.0)
    fps: float = 15.0
    heart_hz: tuple[float, float] = (0.9, 1.5)
    breath_mm: tuple[float, float] = (0.0, 10.0)
    panning_probability: float = 0.15
    panning_mm_s: tuple[float, float] = (4.0, 30.0)
    wire_mu: tuple[float, float] = (0.8, 6.0)
    tip_density: tuple[float, float] = (1.3, 2.0)
    tip_shares: tuple[float, float, float, float] = (0.3, 0.2, 0.3, 0.2)
    place_shares: tuple[float, float, float, float] = (0.75, 0.09, 0.08, 0.08)
    second_wire_probability: float = 0.0
    pulse_ms: tuple[float, float] = (3.0, 8.0)
    noise_std: tuple[float, float] = (3.0, 9.5)
    grain_px: float = 0.7
    structure_std: tuple[float, float] = (0.2, 0.8)
    lag: tuple[float, float] = (0.01, 0.04)
    recursion: tuple[float, float] = (0.0, 0.15)
    kept_range: tuple[float, float] = (0.25, 0.42)
    texture: tuple[float, float] = (1.1, 2.1)
    scatter_ratio: tuple[float, float] = (0.4, 1.0)
    blur_px: float = 0.5
    mean_level: tuple[float, float] = (0.44, 0.52)
    blade_level: tuple[float, float] = (0.2, 0.6)
    contrast_probability: float = 0.3
    distractor_probability: float = 0.25
    intensity_max: int = 255

    def __post_init__(self) -> None:
        """Refuse numbers that can't be simulated."""
        for key in ("patients", "clips_per_patient", "frames"):
            self._demand(getattr(self, key) >= 1, key, ">= 1")
        for key in (
            "height",
            "width",
        ):  # beyond that, squared distances don't fit the integers they are compared as
            self._demand(32 <= getattr(self, key) <= 2048, key, "32..2048")
        for key in ("spacing_mm", "fps"):
            self._demand(getattr(self, key) > 0, key, "> 0")
        self._demand(0 < self.blur_px <= 2, "blur_px", "0 < blur_px <= 2")
        self._demand(0 <= self.grain_px <= 2, "grain_px", "0..2")
        self._demand(1 <= self.intensity_max <= 65535, "intensity_max", "1..65535")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_probability"):
                self._demand(0 <= value <= 1, field.name, "0..1")
            elif field.name.endswith("_shares"):
                fair = len(value) == 4 and min(value) >= 0 and sum(value) > 0
                self._demand(fair, field.name, "four numbers, none negative, not all 0")
            elif isinstance(value, tuple | list):
                self._demand(len(value) == 2 and 0 <= value[0] <= value[1], field.name, "0 <= least <= most")
        for key in ("view_mm", "heart_hz", "wire_mu", "tip_density"):
            self._demand(getattr(self, key)[0] > 0, key, "> 0")
        for key, most in (("lag", 0.5), ("recursion", 0.9), ("blade_level", 1.0)):
            self._demand(getattr(self, key)[1] <= most, key, f"<= {most}")
        self._demand(self.pulse_ms[1] * self.fps <= 1000, "pulse_ms", "at most the time between two frames")
        self._demand(self.mean_level[0] > 0 and self.mean_level[1] < 1, "mean_level", "between 0 and 1")

    def _demand(self, holds: bool, key: str, expected: str) -> None:
        if not holds:
            raise ConfigError(
                "the phantom can't be simulated with this setting",
                key=key,
                expected=expected,
                found=getattr(self, key),
                remedy=f"give {key} a value in that range",
            )
