"""The table of grounding benchmarks: their files, their protocols, and what of them was checked.

docs/evaluate.md has this table, too: ``python -m molmo_agent.evaluation.grounding.table`` prints it.
"""

from collections.abc import Mapping

from molmo_agent.console import make_console, plain_text
from molmo_agent.evaluation.grounding.benchmark_row import BenchmarkRow, table_of
from molmo_agent.evaluation.grounding.protocols import DEFAULT, Protocol

_READERS = "molmo_agent.data.readers.grounding"


_ITEMS = Protocol(name=DEFAULT, note="The mean over all questions; a box includes its edges.")
_ROUNDED = Protocol(
    name="molmoweb",
    rule="inside the box rounded to 0.1 %",
    reading="lenient",
    note="Boxes are rounded to 0.1 % of the image first, which widens or narrows small ones.",
)
_SIX = Protocol(name="cells", mean="cell", note="The mean of the six cells of platform and type.")

GROUNDING: Mapping[str, BenchmarkRow] = {
    "screenspot": BenchmarkRow(
        what="elements of screenshots of phones, desktops and web pages",
        data="the folder with screenspot_mobile.json, _desktop.json, _web.json and screenspot_imgs/; or, with --form "
        "relative, Parquet files",
        reader=f"{_READERS}.screens:screenspot",
        count="1,272",
        options={"form": "original"},
        protocols=(
            _ITEMS,
            Protocol(
                name="official",
                mean="cell",
                reading="lenient",
                note="The mean of the six cells of platform and type, so a question of a small cell counts more.",
            ),
        ),
    ),
    "screenspot_v2": BenchmarkRow(
        what="ScreenSpot with its errors corrected",
        data="the folder with screenspot_mobile_v2.json, _desktop_v2.json, _web_v2.json and screenspotv2_image/; or, "
        "with --form relative, pixels or variants, a copy",
        reader=f"{_READERS}.screens:screenspot_v2",
        count="1,272",
        options={"form": "original"},
        protocols=(
            _ITEMS,
            _SIX,
            Protocol(name="platforms", mean="platform", note="The mean of the three platforms."),
            Protocol(
                name="molmo2", reading="lenient", note="Molmo2's evaluation: tags of points anywhere in the reply."
            ),
            _ROUNDED,
        ),
        unchecked="which unit each Parquet copy has: --form says it",
    ),
    "screenspot_pro": BenchmarkRow(
        what="small elements on large screens of professional programs",
        data="the folder with annotations/*.json and images/",
        reader=f"{_READERS}.screens:screenspot_pro",
        count="1,581",
        options={"form": "en"},
        protocols=(
            _ITEMS,
            Protocol(
                name="official",
                rule="inside; refusals wrong",
                reading="lenient",
                note="The scoring loop tests a variable of another loop, so in a run with absent targets their "
                "refusals count as wrong; the published data has none.",
            ),
            Protocol(name="groups", mean="group", note="The mean of the six groups of programs."),
            _ROUNDED,
        ),
    ),
    "osworld_g": BenchmarkRow(
        what="elements of desktops: boxes, polygons, and targets that are not there",
        data="the folder with OSWorld-G.json, OSWorld-G_refined.json (--form refined) and images/, or Parquet files",
        reader=f"{_READERS}.screens:osworld_g",
        count="564",
        options={"form": "original"},
        protocols=(
            Protocol(name=DEFAULT, note="All questions; a refusal is right only if the answer says there is none."),
            Protocol(name="refusals-wrong", rule="inside; refusals wrong", note="Every refusal counts as wrong."),
            Protocol(
                name="without-refusals", rule="inside; refusals left out", note="ClawGUI's: 510 of 564 questions."
            ),
            Protocol(
                name="mai-ui",
                rule="inside; polygons as x, y, width, height; refusals wrong",
                reading="lenient",
                note="Takes the second corner of a polygon for a width and height; refusals are wrong.",
            ),
            Protocol(
                name="molmo2",
                rule="inside; polygons and refusals wrong",
                reading="lenient",
                note="Treats every target as a box, so polygons and refusals are always wrong.",
            ),
        ),
        unchecked="the authors' own script, which was not available; the spelling of all element types",
    ),
    "ui_vision": BenchmarkRow(
        what="elements of 83 desktop programs, named by look, function or place",
        data="the folder with annotations/element_grounding/ and images/",
        reader=f"{_READERS}.screens:ui_vision",
        count="5,479",
        options={"split": "all"},
        protocols=(
            Protocol(name=DEFAULT, mean="split", note="The mean of the three splits, as published."),
            Protocol(
                name="official",
                mean="split",
                reading="lenient",
                note="The same mean; tags of points anywhere in the reply.",
            ),
            Protocol(name="items", note="The mean over all questions."),
        ),
        unchecked="the spelling of the programs in the data, which decides their domain; layout grounding, whose "
        "answer is a box",
    ),
    "mmbench_gui_l2": BenchmarkRow(
        what="elements on six platforms, named by look or function",
        data="the folder with L2_annotations.json and offline_images/",
        reader=f"{_READERS}.screens:mmbench_gui_l2",
        count="3,594",
        options={"split": "all"},
        protocols=(
            Protocol(name=DEFAULT, mean="level", note="The mean of the two levels, as published."),
            Protocol(
                name="official",
                mean="level",
                reading="lenient",
                note="The same mean; tags of points anywhere in the reply.",
            ),
            Protocol(name="items", note="The mean over all questions."),
        ),
    ),
    "visual_web_bench": BenchmarkRow(
        what="the two grounding tasks on web pages, by pointing",
        data="the folder with element_ground/ and action_ground/, Parquet files in each",
        reader=f"{_READERS}.screens:visual_web_bench",
        count="not stated for the two tasks",
        options={"split": "all"},
        protocols=(
            Protocol(
                name=DEFAULT, mean="task", note="The mean of the tasks. The published score is for choosing a letter."
            ),
            Protocol(name="items", note="The mean over all questions."),
        ),
        unchecked="the multiple choice of the authors, which is another task",
    ),
    "point_bench": BenchmarkRow(
        what="pointing by affordance, place, reasoning, count, or from a start point",
        data="the folder with data.json, selected_images/, selected_masks/ and pixmo_metadata.csv",
        reader=f"{_READERS}.masks:point_bench",
        count="982",
        protocols=(
            Protocol(
                name=DEFAULT,
                rule="first in the mask; when counting, all, and as many",
                points="all",
                note="The first point; when counting, all points and as many as asked for.",
            ),
            Protocol(
                name="official",
                rule="first in the mask; when counting, all, and as many; truncated",
                points="all",
                reading="lenient",
                note="Truncates to whole pixels, so points on the far edges lie outside of the image.",
            ),
            Protocol(
                name="molmo2",
                rule="all in the mask",
                points="all",
                mean="category",
                reading="lenient",
                note="All points must be inside, their number is not tested; the mean of the five categories.",
            ),
            Protocol(
                name="lmms-eval",
                rule="share in the mask",
                points="all",
                reading="lenient",
                note="The share of the points that are inside, so more points than targets cost little.",
            ),
        ),
        unchecked="the authors' wording of start points in steerable questions",
    ),
    "ref_spatial": BenchmarkRow(
        what="places and objects named by several spatial relations",
        data="the folder with Location/, Placement/ and Unseen/, or Parquet files",
        reader=f"{_READERS}.masks:ref_spatial",
        count="277",
        options={"split": "all"},
        protocols=(
            Protocol(
                name=DEFAULT,
                rule="share on grey above 0",
                points="all",
                mean="split",
                note="The share of the points inside; no point counts as 0. The mean of the splits.",
            ),
            Protocol(
                name="official",
                rule="share on grey above 0; wrong format left out",
                points="all",
                mean="split",
                reading="lenient",
                note="Leaves out answers that cannot be read, so a model gains by not answering.",
            ),
            Protocol(
                name="official-molmo",
                rule="share on grey above 0; single points not read",
                points="all",
                mean="split",
                reading="lenient",
                note="Its pattern for Molmo reads no tag with a single point, so most of Molmo's answers score 0.",
            ),
            Protocol(
                name="lmms-eval",
                rule="share in the mask",
                points="all",
                mean="split",
                reading="lenient",
                note="Only mask values above one half are inside.",
            ),
        ),
    ),
    "where2place": BenchmarkRow(
        what="free places, by masks of grey values",
        data="the folder with point_questions.jsonl, images/ and masks/; or, with --form parquet, Parquet files",
        reader=f"{_READERS}.masks:where2place",
        count="100",
        options={"form": "original"},
        protocols=(
            Protocol(
                name=DEFAULT,
                rule="mean grey",
                points="all",
                note="The mean value of the mask under the points; no point counts as 0.",
            ),
            Protocol(
                name="official",
                rule="mean grey; wrong format left out",
                points="all",
                reading="lenient",
                note="Leaves out answers that cannot be read, so a model gains by not answering.",
            ),
            Protocol(
                name="lmms-eval",
                rule="share in the mask",
                points="all",
                reading="lenient",
                note="Only mask values above one half are inside.",
            ),
        ),
        unchecked="questions for boxes",
    ),
    "robo_spatial_home": BenchmarkRow(
        what="free places in homes (context); yes or no about relations and fits",
        data="the folder with Parquet files; --split context, compatibility or configuration",
        reader=f"{_READERS}.masks:robo_spatial_home",
        count="122, 105, 123",
        options={"split": "context"},
        protocols=(
            Protocol(name=DEFAULT, note="The first point in the polygon, or a reply that starts with the right word."),
            Protocol(
                name="official",
                rule="inside; wrong format left out",
                reading="lenient",
                note="With replies made earlier, those that cannot be read are left out of the total.",
            ),
        ),
    ),
}


def markdown_table() -> str:
    """Return the table of the documentation."""
    return table_of(GROUNDING)


if __name__ == "__main__":
    for line in markdown_table().splitlines():
        make_console().print(plain_text(line), soft_wrap=True)
