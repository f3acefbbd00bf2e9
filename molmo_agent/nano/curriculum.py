"""A curriculum: stretches of training that teach a small model from nothing. Plain data, read from YAML."""

from dataclasses import dataclass, field
from typing import Any, Literal

from molmo_agent.envs.sim_desktop.sampling import STYLES
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.synthetic.sample import OWN_STYLES
from molmo_agent.train.recipe import RunKind

ANY_STYLE = "any"
"""In a stage's styles: whatever kind of screen comes."""
RECORDED_STYLE = "recorded"
"""In a stage's styles: screens of a folder, with the questions that were asked about them."""
WINDOW_STYLE = "window"
"""In a stage's styles: windows of larger screens of desktops, as the model reads them; "window@1280x800"."""
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
"""What can be weighed: the answers' own tokens, and the auxiliary losses."""
_KNOWN_STYLES = (*OWN_STYLES, *STYLES, ANY_STYLE, RECORDED_STYLE, WINDOW_STYLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stretch of training with one mix of objectives."""

    name: str
    # `read`: tower and connector on crops of screens. `point`: everything, on whole screens with questions.
    kind: Literal["read", "point"]
    # Optimizer steps, and screens in each.
    steps: int
    batch: int
    # Crops of those screens that a `read` step keeps: the ones that show most.
    crops: int = 16
    # Sizes of the screens as "640x480" (width, height), and how often each; same for the styles. "page@160x210" is a
    # style at a size of its own.
    sizes: dict[str, float] = field(default_factory=lambda: {"640x480": 1.0})
    styles: dict[str, float] = field(default_factory=lambda: {ANY_STYLE: 1.0})
    # Folder of the recorded screens (see synthetic.recorded_screens), where the styles name them.
    recorded: str | None = None
    muon_lr: float = 0.02
    adam_lr: float = 2e-3
    # Learning rate of tower and connector relative to the rest; 0 freezes the tower.
    vision_scale: float = 1.0
    warmup_steps: int = 30
    # Share of the steps over which the learning rate falls linearly to zero.
    decay: float = 0.4
    # Weights of OBJECTIVES, the auxiliary losses among them; 1 where not named. The key of published recipes.
    aid_weights: dict[str, float] = field(default_factory=dict)
    # Most questions about one screen.
    max_questions: int = 40
    # Share of questions about what is not there, and about several things or their number.
    none: float = 0.08
    several: float = 0.06
    # Share of answers that are learned to the end (alt text and label included).
    tail: float = 0.0
    # Width in image tokens of the bell that attention should follow.
    sigma: float = 1.0
    # Screens are drawn up to this share larger or smaller, across and down by themselves, and resized.
    stretch: float = 0.0
    # Begin by bringing image features to unit size (see batches.balance).
    balance: bool = False

    def rate(self, step: int) -> float:
        """Return the factor on the learning rates at a step (0-based): warm-up, plateau, linear fall to zero."""
        up = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        down = (self.steps - step) / max(self.decay * self.steps, 1)
        return min(up, 1.0, down)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curriculum:
    """Stages one after another; the same curriculum computes the same."""

    stages: tuple[Stage, ...]
    # "nano-fresh": from nothing. "nano": from the embedded weights on.
    model: Literal["nano", "nano-fresh"] = "nano-fresh"
    # Folder of another curriculum's run: its last weights are the first here, those of the training-only heads too.
    start: str | None = None
    seed: int = 0
    checkpoint_every: int = 100
    keep: int = 2
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def place(self, step: int) -> tuple[int, int]:
        """Return (number of the stage, steps of it that are done) after a number of steps of the whole."""
        for number, stage in enumerate(self.stages):
            if step < stage.steps:
                return number, step
            step -= stage.steps
        return len(self.stages), 0


def size_of(text: str) -> tuple[int, int]:
    """Read "640x480" as (width, height).

    Raises:
        UsageError: it is no such thing.
    """
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"expected a size as WIDTHxHEIGHT, such as 640x480, got {text!r}")
    return int(parts[0]), int(parts[1])


def check(curriculum: Curriculum) -> Curriculum:
    """Return a curriculum that makes sense as a whole.

    Raises:
        UsageError: it does not.
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
"""Recipes with stages are curricula."""
