"""What the simulator can be told: numbers with units, checked when they are given."""

from dataclasses import dataclass, fields

from sfvd_pl.errors import ConfigError


@dataclass(frozen=True)
class PhantomConfig:
    """Size and physics of a simulated data set.

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
        wire_mu: Attenuation of the wire's shaft, (least, most), 1/mm. Drawn log-uniformly: visibility.
        tip_density: Attenuation of the radiopaque tip coil relative to the shaft, (least, most).
        noise_std: Quantum noise at the mean signal before the detector's blur, (least, most), in 1/255 of
            intensity_max. Dose is its inverse square.
        kept_range: Share of the chest's large-scale attenuation differences left in the picture, (least,
            most): wedge filters and the console's equalisation take the rest and leave fine detail as it is.
        scatter_ratio: Scattered to primary radiation behind the patient, (least, most).
        blur_px: Standard deviation of the detector's point spread, px.
        mean_level: Mean signal that the exposure control keeps, (least, most), fraction of intensity_max.
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
    wire_mu: tuple[float, float] = (1.2, 7.5)
    tip_density: tuple[float, float] = (1.3, 2.0)
    noise_std: tuple[float, float] = (4.5, 8.5)
    kept_range: tuple[float, float] = (0.3, 0.45)
    scatter_ratio: tuple[float, float] = (0.4, 1.0)
    blur_px: float = 0.5
    mean_level: tuple[float, float] = (0.44, 0.52)
    contrast_probability: float = 0.2
    distractor_probability: float = 0.25
    intensity_max: int = 255

    def __post_init__(self) -> None:
        """Refuse numbers that can't be simulated."""
        lower = {"patients": 1, "clips_per_patient": 1, "frames": 1, "height": 32, "width": 32}
        for key, least in lower.items():
            self._demand(int(getattr(self, key)) >= least, key, f">= {least}")
        for key in ("spacing_mm", "fps"):
            self._demand(getattr(self, key) > 0, key, "> 0")
        self._demand(0 < self.blur_px <= 1, "blur_px", "0 < blur_px <= 1")
        self._demand(1 <= self.intensity_max <= 65535, "intensity_max", "1..65535")
        for key in ("contrast_probability", "distractor_probability"):
            self._demand(0 <= getattr(self, key) <= 1, key, "0..1")
        for field in fields(self):
            pair = getattr(self, field.name)
            if isinstance(pair, tuple | list):
                self._demand(len(pair) == 2 and 0 <= pair[0] <= pair[1], field.name, "0 <= least <= most")
        for key in ("view_mm", "heart_hz", "wire_mu", "tip_density"):
            self._demand(getattr(self, key)[0] > 0, key, "> 0")
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
