"""A curriculum: stages that train a small model from scratch. Plain data, read from YAML."""

from dataclasses import dataclass, field
from typing import Any, Literal

from molmo_agent.envs.sim_desktop.sampling import STYLES
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.synthetic.sample import OWN_STYLES
from molmo_agent.train.recipe import RunKind

ANY_STYLE = "any"
"""In a stage's styles: any kind of screen."""
RECORDED_STYLE = "recorded"
"""In a stage's styles: recorded screens of a folder, with their questions."""
WINDOW_STYLE = "window"
"""In a stage's styles: windows of larger desktop screens, as a model reads them; "window@1280x800"."""
OBJECTIVES = (
    "tokens",
    "first_attention",
    "attention",
    "token_position",
    "first_position",
    "answer_position",
    "query_code",
    "key_code",
    "image_code",
    "characters",
    "objects",
    "offsets",
)
"""The objectives that can have weights: the tokens of the answers, and the auxiliary losses."""
_KNOWN_STYLES = (*OWN_STYLES, *STYLES, ANY_STYLE, RECORDED_STYLE, WINDOW_STYLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of training with its mix of objectives."""

    name: str
    # `read`: tower and connector on crops of screens. `point`: the whole model, on whole screens with questions.
    kind: Literal["read", "point"]
    # Number of optimizer steps, and of screens per step.
    steps: int
    batch: int
    # Number of crops in a `read` step: those with the most content.
    crops: int = 16
    # Sizes of the screens as "640x480" (width, height) with their relative frequencies; likewise the styles.
    # "page@160x210" is a style with a size of its own.
    sizes: dict[str, float] = field(default_factory=lambda: {"640x480": 1.0})
    styles: dict[str, float] = field(default_factory=lambda: {ANY_STYLE: 1.0})
    # Folder of the recorded screens (see synthetic.recorded_screens), if the styles include them.
    recorded: str | None = None
    muon_lr: float = 0.02
    adam_lr: float = 2e-3
    # Learning rate of tower and connector relative to the decoder's; 0 freezes the tower.
    vision_scale: float = 1.0
    warmup_steps: int = 30
    # Share of the steps over which the learning rate falls linearly to zero.
    decay: float = 0.4
    # Weights of OBJECTIVES, including the auxiliary losses; default 1. Published recipes use this key.
    aid_weights: dict[str, float] = field(default_factory=dict)
    # Maximum number of questions about one screen.
    max_questions: int = 40
    # Share of questions with an absent target, and of questions about several targets or their number.
    none: float = 0.08
    several: float = 0.06
    # Share of answers that are learned completely, including alt text and label.
    tail: float = 0.0
    # Standard deviation, in image tokens, of the Gaussian target of attention.
    sigma: float = 1.0
    # Screens are drawn larger or smaller by up to this share, independently across and down, and resized.
    stretch: float = 0.0
    # Rescale image features to unit scale before the first step (see batches.balance).
    balance: bool = False

    def rate(self, step: int) -> float:
        """Return the factor on the learning rates at a step (0-based): warm-up, plateau, linear decay to zero."""
        up = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        down = (self.steps - step) / max(self.decay * self.steps, 1)
        return min(up, 1.0, down)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """A sequence of stages; the same curriculum gives the same model."""

    stages: tuple[Stage, ...]
    # The initial weights. "nano-fresh": random. "nano": the embedded model's.
    model: Literal["nano", "nano-fresh"] = "nano-fresh"
    # Folder of another curriculum's run, whose last weights are the initial ones here, including those of the heads.
    start: str | None = None
    seed: int = 0
    checkpoint_every: int = 100
    keep: int = 2
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()

    @property
    def steps(self) -> int:
        """Number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def place(self, step: int) -> tuple[int, int]:
        """Return (number of the stage, finished steps in it) after a number of steps of the curriculum."""
        for number, stage in enumerate(self.stages):
            if step < stage.steps:
                return number, step
            step -= stage.steps
        return len(self.stages), 0


def size_of(text: str) -> tuple[int, int]:
    """Parse "640x480" as (width, height).

    Raises:
        UsageError: the text is not a size.
    """
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"expected a size as WIDTHxHEIGHT, such as 640x480, got {text!r}")
    return int(parts[0]), int(parts[1])


def check(curriculum: Curriculum) -> Curriculum:
    """Validate a curriculum and return it.

    Raises:
        UsageError: a value is out of range, or values contradict each other.
    """
    if not curriculum.stages:
        raise UsageError("expected at least one stage, got none; add one under 'stages'")
    for stage in curriculum.stages:
        numbers: dict[str, Any] = {"steps": stage.steps, "batch": stage.batch, "crops": stage.crops}
        for name, value in numbers.items():
            if value < 1:
                raise UsageError(f"expected {name} of stage {stage.name!r} to be at least 1, got {value}")
        for objective in stage.aid_weights:
            if objective not in OBJECTIVES:
                raise UnknownNameError("objective", objective, OBJECTIVES)
        for size in stage.sizes:
            size_of(size)
        if (stage.styles.get(RECORDED_STYLE, 0) > 0) != (stage.recorded is not None):
            raise UsageError(
                f"expected stage {stage.name!r} to have both a rate for the style {RECORDED_STYLE!r} and a folder in "
                f"'recorded', or neither; got {stage.styles.get(RECORDED_STYLE, 0)} and {stage.recorded}"
            )
        for style, at, size in (name.partition("@") for name in stage.styles):
            if at:
                size_of(size)
            if style not in _KNOWN_STYLES:
                raise UnknownNameError("style", style, _KNOWN_STYLES)
        if stage.none < 0 or stage.several < 0 or stage.none + stage.several > 0.9:
            raise UsageError(
                f"expected none and several of stage {stage.name!r} to be at least 0 and together at most 0.9, "
                f"got {stage.none} and {stage.several}"
            )
        if not 0 <= stage.stretch <= 0.5:
            raise UsageError(f"expected stretch of stage {stage.name!r} to be from 0 to 0.5, got {stage.stretch}")
        for name, rates in (("sizes", stage.sizes), ("styles", stage.styles)):
            if not rates or min(rates.values()) < 0 or sum(rates.values()) <= 0:
                raise UsageError(f"expected rates of {name} of stage {stage.name!r} above zero, got {rates}")
    return curriculum


KIND = RunKind(config=Curriculum, check=check, train_module="molmo_agent.nano.curriculum_module:CurriculumModule")
"""The run kind of recipes with the key ``stages``."""
