"""The table of step benchmarks: their files, their protocols, and what of them was checked.

docs/evaluate.md has this table, too: ``python -m molmo_agent.evaluation.steps.table`` prints it.
"""

from collections.abc import Mapping

from molmo_agent.console import make_console, plain_text
from molmo_agent.data.readers.steps.prompts import AITW_PROMPT, ODYSSEY_PROMPT, PAGE_PROMPT
from molmo_agent.evaluation.grounding.benchmark_row import NOT_REMADE, BenchmarkRow, table_of
from molmo_agent.evaluation.grounding.protocols import DEFAULT, Protocol
from molmo_agent.evaluation.steps import android, rules
from molmo_agent.evaluation.steps.figures import BY_EPISODE

_READERS = "molmo_agent.data.readers.steps"


def _phone(name: str, rule: str, note: str, mean: str = "items") -> Protocol:
    return Protocol(name=name, rule=rule, mean=mean, prompt=AITW_PROMPT, note=note)


def _across(name: str, rule: str, note: str, mean: str = "items") -> Protocol:
    return Protocol(name=name, rule=rule, mean=mean, prompt=ODYSSEY_PROMPT, note=note)


def _page(name: str, rule: str, note: str, mean: str = BY_EPISODE) -> Protocol:
    return Protocol(name=name, rule=rule, mean=mean, prompt=PAGE_PROMPT, note=note)


_FORM = "the benchmark's prompt in the form of --form"


def _android(name: str, rule: str, note: str) -> Protocol:
    return Protocol(name=name, rule=rule, prompt=_FORM, note=note)


ANDROID_CONTROL = (
    _android("box_inside", android.BOX, "Molmo's rule."),
    _android("box_1.2x", android.BOX_ENLARGED, "The box may be missed by a tenth of its sides."),
    _android("dist_14", android.DISTANCE_14, "As OS-Atlas, except that typed text must be equal."),
    _android("dist_4", android.DISTANCE_4, "Text must be equal."),
    _android("exact_text", android.EXACT, "Not a tenth of a percent may differ."),
    _android(
        "os-atlas",
        android.OS_ATLAS,
        "As its script, which compares the first words alone: New York and New Orleans are the same. On 7,708 steps.",
    ),
    _android("os-atlas-corrected", android.OS_ATLAS_TEXTS, "The same with all words: their F1 is above 0.5."),
    _android(
        "claw-gui",
        android.CLAW_GUI,
        "Measures on 1080 x 2400 pixels whatever the screen is; a step of waiting counts as right without a look at "
        "the answer. On 7,708 steps.",
    ),
    _android(
        "uground",
        android.UGROUND,
        "The smallest element; a click on the app's name opens the app, a click on back goes back. On 500 steps; "
        "there another model chooses the action.",
    ),
    _android("qwen", android.BOX_OR_NEAR, "The style of Qwen's cookbook. On 7,708 steps."),
    _android("infigui", android.BOX_OR_NEAR_F1, "The style of InfiGUI-R1 and GUI-R1. On 8,444 or 7,708 steps."),
)

STEPS: Mapping[str, BenchmarkRow] = {
    "aitw": BenchmarkRow(
        what="one step on a phone, of Android in the Wild",
        data="the folder with a folder of TFRecord files for each of general, google_apps, install, single and "
        "web_shopping, and splits/; or, with --form seeclick, aitw_data_test.json and aitw_imgs/",
        reader=f"{_READERS}.aitw:aitw",
        count="5,689,993 in all",
        options={"form": "google", "split": "test", "subsplit": None, "prompt": "described", "images": None},
        protocols=(
            _phone(DEFAULT, rules.AITW, "The mean of the five sets. Text and direction do not count.", "set"),
            _phone(
                "official",
                rules.AITW_OFFICIAL,
                "An enlarged box starts at the edge of the screen at the earliest and keeps its size, so near the left "
                "and upper edge it reaches too far. Text and direction do not count.",
                "set",
            ),
            _phone("steps", rules.AITW, "The mean over all steps, to which the large sets contribute most."),
            _phone("strict", rules.AITW_STRICT, "Texts and the directions of drags must be equal.", "set"),
        ),
        unchecked="which steps SeeClick's selection has; no published number was made again",
        caveat="Google's splits and SeeClick's selection are different steps: --form names which.",
    ),
    "aitz": BenchmarkRow(
        what="one step on a phone, of Android in the Zoo",
        data="the folder with test/SUBSET/EPISODE/EPISODE.json and the screenshots beside each",
        reader=f"{_READERS}.aitz:aitz",
        count="4,724",
        options={"split": "test", "prompt": "described"},
        protocols=(
            _phone(
                DEFAULT,
                rules.AITZ,
                "The script with the recorded touch; a point must be in its element, or near it if it has none.",
            ),
            _phone(
                "official",
                rules.AITZ_OFFICIAL,
                "The script compares clicks with the upper left corner, because it reads the touch of scrolls only; "
                "points have no area, and an empty text is the same as any.",
            ),
            _phone("dist_14", rules.AITZ_NEAR, "Clicks within 14 %, as later work has them."),
            _phone("subsets", rules.AITZ, "The mean of the four subsets.", "subset"),
        ),
        unchecked="the type is read from the recorded action, not from its description in words; " + NOT_REMADE,
    ),
    "mind2web": BenchmarkRow(
        what="one step on a web page, of Multimodal-Mind2Web",
        data="the folder with Parquet files (data/test_task-*.parquet); or, with --form seeclick, "
        "mind2web_data_test_task.json and mind2web_imgs/",
        reader=f"{_READERS}.mind2web:mind2web",
        count="1,339, 1,019, 4,060",
        options={"form": "block", "split": "test_task", "images": None},
        protocols=(
            _page(DEFAULT, rules.MIND2WEB, "The mean of the tasks' means, over steps with a question."),
            _page("steps", rules.MIND2WEB, "The mean over all steps with a question.", "items"),
            _page(
                "official",
                rules.MIND2WEB_OFFICIAL,
                "UGround's: steps without a screenshot are never asked, and count as wrong; punctuation in a text is "
                "not compared.",
            ),
            _page(
                "seeclick",
                rules.MIND2WEB_FIRST,
                "Only the first element of the target counts, and its box is rounded to 0.1 % first.",
            ),
        ),
        unchecked="blocks that no element fits into, which UGround draws at random; " + NOT_REMADE,
        caveat="What the model sees decides: a block, the whole page, or SeeClick's cut. --form names which.",
    ),
    "gui_odyssey": BenchmarkRow(
        what="one step across apps on a phone, of GUI-Odyssey",
        data="the folder with annotations/, screenshots/ and splits/",
        reader=f"{_READERS}.gui_odyssey:gui_odyssey",
        count="1,933, 1,016, 1,262, 1,139 episodes (random, task, device, app)",
        options={"split": "random", "subsplit": "test", "form": "high", "prompt": "described"},
        protocols=(
            _across(DEFAULT, rules.ODYSSEY, "The mean over all steps (AMS)."),
            _across("categories", rules.ODYSSEY, "The mean of the categories.", "category"),
            _across(
                "official",
                rules.ODYSSEY_OFFICIAL,
                "The script cuts texts off at a colon and takes an empty text for any. Its AMS, also of the random "
                "split: see official-categories.",
            ),
            _across(
                "official-categories",
                rules.ODYSSEY_OFFICIAL,
                "The same for the random split, where the script averages the six categories and calls that micro.",
                "category",
            ),
            _across("dist_14", rules.ODYSSEY_NEAR, "Without the boxes, which the first version of the files lacks."),
        ),
        unchecked="the boxes and the instructions of steps of the second version, whose files were not seen; "
        + NOT_REMADE,
    ),
}

ANDROID_CONTROL_ROW = BenchmarkRow(
    what="one step on a phone, under every published rule",
    data="the folder with shards android_control-..., splits.json and test_subsplits.json",
    reader="molmo_agent.data.android_control.questions:AndroidQuestions",
    count="8,444; 7,708 with --steps os-atlas",
    options={"form": "hl", "split": "test", "subsplit": None, "steps": "all"},
    protocols=ANDROID_CONTROL,
    unchecked="the scripts of ClawGUI, Qwen and InfiGUI-R1, known from descriptions; the number of all steps",
    caveat="Numbers under different rules are not comparable. The publication does not state the low-level form.",
)


def markdown_table() -> str:
    """Return the table of the documentation."""
    return table_of({**STEPS, "android_control": ANDROID_CONTROL_ROW})


if __name__ == "__main__":
    for line in markdown_table().splitlines():
        make_console().print(plain_text(line), soft_wrap=True)
