"""The benchmarks by name: how their questions are read, asked and scored, and what they compare with. A table alone.

Settings are those of the published figures (docs/reference/evaluation.md#settings), except where a comment says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from molmo_agent.errors import UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Which published score one of ours compares with."""

    # In published_scores.json.
    key: str
    # Ours, see molmo_agent.evaluation.scoring.
    score: str
    # Of this group of questions alone.
    group: str | None = None
    # Only where the benchmark's options have one of these values.
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark."""

    what: str
    # What --data names.
    data: str
    # "module:function": makes what has `questions()` and `problems` out of a Source.
    reader: str
    # In molmo_agent.evaluation.scoring.
    metric: str
    # The tag of questions whose reader gives them none, and of those with options.
    style: str
    choice_style: str | None = None
    # A bank of wordings that asks for a label; None: questions are asked as they stand.
    wording: str | None = None
    max_new_tokens: int = 12
    # Most crops of an image that the published figures were made with.
    crops: int = 36
    # What the reader takes, and what it gets where nothing is said.
    options: Mapping[str, str | None] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    # Why figures may not compare.
    caveat: str = ""


_READERS = "molmo_agent.data.readers"
_SERVER = "The published figures are of the test split, whose answers are secret; what has answers is another split."
_WITHOUT_MATHS_JUDGE = (
    "The published figures let a language model find the answer in the reply; here it must be there as it is, so "
    "replies in sentences score lower."
)

BENCHMARKS: Mapping[str, Benchmark] = {
    "vqa2": Benchmark(
        what="questions about photographs, ten answers each",
        data="the folder with VQA v2's questions and annotations, COCO's val2014/ beside them",
        reader=f"{_READERS}.academic_photos:vqa2",
        metric="vqa",
        style="vqa2",
        options={"split": "validation"},
        published=(Published(key="VQAv2_testdev", score="vqa"),),
        caveat=_SERVER,
    ),
    "text_vqa": Benchmark(
        what="questions about text in photographs",
        data="the folder with TextVQA_0.5.1_val.json and train_images/, or the hub's parquet files",
        reader=f"{_READERS}.academic_texts:text_vqa",
        metric="vqa",
        style="text_vqa",
        options={"split": "validation"},
        published=(Published(key="TextVQA_val", score="vqa", when={"split": ("validation",)}),),
    ),
    "doc_qa": Benchmark(
        what="questions about scanned pages",
        data="the folder with val_v1.0_withQT.json and documents/, or the hub's parquet files",
        reader=f"{_READERS}.academic_texts:doc_qa",
        metric="anls",
        style="doc_qa",
        options={"split": "validation"},
        published=(Published(key="DocVQA_test", score="anls"),),
        caveat=_SERVER,
    ),
    "info_qa": Benchmark(
        what="questions about infographics",
        data="the folder with infographicsVQA_val_v1.0_withQT.json and images/",
        reader=f"{_READERS}.academic_texts:info_qa",
        metric="anls",
        style="info_qa",
        options={"split": "validation"},
        published=(Published(key="InfoQA_test", score="anls"),),
        caveat=_SERVER,
    ),
    "chart_qa": Benchmark(
        what="questions about charts, by people and by a program",
        data="the folder with test/test_human.json and test/png/, or the hub's parquet files",
        reader=f"{_READERS}.academic_charts:chart_qa",
        metric="relaxed",
        style="chart_qa",
        options={"split": "test"},
        published=(Published(key="ChartQA_test", score="relaxed", when={"split": ("test",)}),),
    ),
    "ai2d": Benchmark(
        what="multiple choice about diagrams, labels transparent or opaque",
        data="the folder with AI2D's questions/, annotations/, images/ and ai2d_test_ids.csv",
        reader=f"{_READERS}.academic_school:ai2d",
        metric="choice",
        style="ai2_diagram",
        options={"split": "test"},
        published=(
            Published(key="AI2D_test", score="right", group="transparent", when={"split": ("test",)}),
            Published(key="AI2D_test_opaque", score="right", group="opaque", when={"split": ("test",)}),
        ),
    ),
    "mmmu": Benchmark(
        what="college exams, multiple choice and open",
        data="the folder with MMMU's parquet files",
        reader=f"{_READERS}.evaluation_only:mmmu",
        metric="mmmu",
        style="eval_short_answer",
        choice_style="eval_multiple_choice",
        options={"split": "validation"},
        published=(Published(key="MMMU_val", score="right", when={"split": ("validation",)}),),
        caveat="The published figures count a random guess where a reply chooses nothing; here that is wrong.",
    ),
    "mathvista": Benchmark(
        what="mathematics with images",
        data="the folder with MathVista's parquet files",
        reader=f"{_READERS}.evaluation_only:math_vista",
        metric="math_vista",
        style="eval_short_answer",
        choice_style="eval_multiple_choice",
        options={"split": "testmini"},
        published=(Published(key="MathVista_testmini", score="right", when={"split": ("testmini",)}),),
        caveat=_WITHOUT_MATHS_JUDGE,
    ),
    "real_world_qa": Benchmark(
        what="questions about what a car or a person sees",
        data="the folder with RealWorldQA's parquet files",
        reader=f"{_READERS}.evaluation_only:real_world_qa",
        metric="real_world_qa",
        style="eval_short_answer",
        choice_style="eval_multiple_choice",
        published=(Published(key="RealWorldQA", score="right"),),
    ),
    "countbench_qa": Benchmark(
        what="how many, 2 to 10",
        data="the folder with CountBench's parquet files and countbench_paired_questions.json",
        reader=f"{_READERS}.evaluation_only:count_bench_qa",
        metric="counting",
        style="point_count",
        max_new_tokens=192,
        crops=12,
        published=(Published(key="CountBenchQA", score="right"),),
    ),
    "pixmo_count": Benchmark(
        what="how many, 540 images",
        data="the folder with PixMo-Count's parquet files; --images: the images that agent data fetch got",
        reader=f"{_READERS}.pixmo_points:count",
        metric="counting",
        style="point_count",
        wording="point_count",
        # The authors' code gives 12 by a slip in a name, which cuts answers off that point first.
        max_new_tokens=192,
        crops=12,
        options={"split": "test", "images": None},
        published=(Published(key="PixMoCount_test", score="right", when={"split": ("test",)}),),
    ),
    "pixmo_points": Benchmark(
        what="pointing: precision, recall and F1 against masks",
        data="the folder with PixMo-Points-Eval's parquet files; --images as above",
        reader=f"{_READERS}.pixmo_points:points_eval",
        metric="pointing",
        style="pointing",
        max_new_tokens=192,
        crops=12,
        options={"images": None},
        published=(
            Published(key="PixMoPointsEval_493_f1", score="f1"),
            Published(key="PixMoPointsEval_493_precision", score="precision"),
            Published(key="PixMoPointsEval_493_recall", score="recall"),
        ),
        caveat="Images that have vanished from the web since are missing here.",
    ),
    "pixmo_clocks": Benchmark(
        what="what time it is",
        data="the folder with PixMo-Clocks' parquet files; --images: the watch faces by their ids",
        reader=f"{_READERS}.pixmo:clocks",
        metric="clock",
        style="clocks",
        options={"split": "train", "images": None},
        published=(
            Published(key="ClockBench_overall", score="right within a minute"),
            Published(key="ClockBench_hour", score="hour"),
        ),
        caveat="The published figures are of photographs from three public sets, not of PixMo's watch faces.",
    ),
    "android_control": Benchmark(
        what="one step on a phone, under every published rule",
        data="the folder with shards android_control-..., splits.json and test_subsplits.json",
        reader="molmo_agent.data.android_control.questions:AndroidQuestions",
        metric="android_control",
        style="android_control",
        # The authors' 16 cut off what is typed.
        max_new_tokens=192,
        crops=12,
        options={"form": "hl", "split": "test", "subsplit": None},
        published=(
            Published(
                key="AndroidControl_IDD_highlevel_step_acc",
                score="box_inside",
                when={"form": ("hl",), "split": ("test",), "subsplit": ("IDD",)},
            ),
            Published(
                key="AndroidControl_IDD_lowlevel_step_acc",
                score="box_inside",
                when={"form": ("ll", "hl_ll"), "split": ("test",), "subsplit": ("IDD",)},
            ),
        ),
        caveat="Numbers under different rules do not compare. Which low-level form was published is not said.",
    ),
    "questions": Benchmark(
        what="your own questions: scored by the style of each",
        data="a JSONL file of questions, images beside it (docs/evaluate.md)",
        reader=f"{_READERS}.questions_file:QuestionsFile",
        metric="by_style",
        style="user_qa",
        choice_style="a_okvqa_mc",
        max_new_tokens=192,
        crops=12,
    ),
}


def find(name: str) -> tuple[str, Benchmark]:
    """Return a benchmark and its name as the table has it; "android-control" is android_control.

    Raises:
        UnknownNameError: there is none; the nearest names are offered.
    """
    plain = name.lower().replace("-", "_")
    if plain not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, BENCHMARKS)
    return plain, BENCHMARKS[plain]
