"""The data sets that a mixture can name. Each returns rows by number and reports the rows it could not use.

A source has a length (0: infinite). The same number and seed always return the same row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from molmo_agent.data.android_control.rows import AndroidControlRows
from molmo_agent.data.hold_out import hold_out, some_of
from molmo_agent.data.readers import (
    academic_charts,
    academic_photos,
    academic_school,
    academic_texts,
    pixmo,
    pixmo_points,
)
from molmo_agent.data.readers import evaluation_only as benchmarks
from molmo_agent.data.readers.conversations_file import conversations
from molmo_agent.data.readers.gui_grounding import gui_grounding
from molmo_agent.data.readers.own_files import PointsFile
from molmo_agent.data.readers.simulated_screens import SimulatedDesktop
from molmo_agent.data.readers.texts import TextRows
from molmo_agent.data.readers.trajectories import TrajectoryRows
from molmo_agent.data.row import Rows
from molmo_agent.data.source import Source
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.plugins import load_plugin

KINDS: Mapping[str, Callable[[Source], Rows]] = {
    "sim-desktop": SimulatedDesktop,
    "points": PointsFile,
    "trajectories": TrajectoryRows,
    "chat": TextRows,
    "conversations": conversations,
    "gui-grounding": gui_grounding,
    "android-control": AndroidControlRows,
    "pixmo-cap": pixmo.cap,
    "pixmo-ask-model-anything": pixmo.ask_model_anything,
    "pixmo-cap-qa": pixmo.cap_qa,
    "pixmo-docs": pixmo.docs,
    "pixmo-clocks": pixmo.clocks,
    "pixmo-points": pixmo_points.points,
    "pixmo-points-eval": pixmo_points.points_eval,
    "pixmo-point-explanations": pixmo_points.point_explanations,
    "pixmo-count": pixmo_points.count,
    "vqa2": academic_photos.vqa2,
    "ok-vqa": academic_photos.ok_vqa,
    "a-okvqa": academic_photos.a_okvqa,
    "tally-qa": academic_photos.tally_qa,
    "text-vqa": academic_texts.text_vqa,
    "st-vqa": academic_texts.st_vqa,
    "doc-qa": academic_texts.doc_qa,
    "info-qa": academic_texts.info_qa,
    "science-qa": academic_school.science_qa,
    "tabmwp": academic_school.tabmwp,
    "ai2d": academic_school.ai2d,
    "chart-qa": academic_charts.chart_qa,
    "dvqa": academic_charts.dvqa,
    "figure-qa": academic_charts.figure_qa,
    "plot-qa": academic_charts.plot_qa,
    "mmmu": benchmarks.mmmu,
    "math-vista": benchmarks.math_vista,
    "real-world-qa": benchmarks.real_world_qa,
    "count-bench-qa": benchmarks.count_bench_qa,
}


# Options that are paths.
_PATHS = ("images", "leave_out")


def open_source(source: Source, *, held_out: bool = False) -> Rows:
    """Open a data set, or the part of it that the recipe names; the hold-out set is always whole.

    Args:
        source: the data set to open.
        held_out: return the hold-out rows instead of the training rows.

    Raises:
        UnknownNameError: the kind does not exist; the message suggests the closest ones.
        UsageError: no row is usable, there are too few rows for a hold-out set, or the reader is in a package that
            cannot be imported.
    """
    reader = KINDS[source.kind] if source.kind in KINDS else load_plugin("data set", source.kind, KINDS)
    rows: Rows = reader(source)
    if source.hold_out:
        rows = hold_out(rows, source.hold_out, held_out=held_out)
    if not held_out and (source.share is not None or source.rows is not None):
        rows = some_of(rows, share=source.share, count=source.rows, draw=source.draw)
    return rows


def source_at(source: Source, home: Path) -> Source:
    """Return a source with relative paths resolved against a folder; absolute paths are unchanged."""
    paths = {name: str(home / source.options[name]) for name in _PATHS if source.options.get(name)}
    path = None if source.path is None else str(home / source.path)
    return replace(source, path=path, options=source.options | paths)


def open_mixture(mixture: Sequence[Source], home: str | None = None, *, held_out: bool = False) -> list[Rows]:
    """Open every data set of a mixture, with paths relative to ``home``; see :func:`open_source`.

    Raises:
        UnknownNameError: the kind does not exist; the message suggests the closest ones.
        UsageError: some data sets have no usable row; the message names all of them.
    """
    sources, faults = [], []
    for number, source in enumerate(mixture):
        if home is not None:
            source = source_at(source, Path(home))
        try:
            sources.append(open_source(source, held_out=held_out))
        except UnknownNameError:
            raise
        except UsageError as error:
            faults.append(f"mixture.{number} ({source.name or source.kind}): {error}")
    if len(faults) == 1 and len(mixture) == 1:
        raise UsageError(faults[0].partition(": ")[2])
    if faults:
        raise UsageError("\n".join([f"{len(faults)} of {len(mixture)} data sets cannot be used:", *faults]))
    return sources
