"""A simulated desktop: an embedded env, a test bed and a source of annotated screens."""

from molmo_agent.envs.drawing.annotated_screen import Element, Screen, TextRun
from molmo_agent.envs.sim_desktop.sampling import SPLITS, STYLES, sample_screen

__all__ = ["SPLITS", "STYLES", "Element", "Screen", "TextRun", "sample_screen"]
