"""The table of benchmarks: how their questions are read, asked and scored, and the published scores.

Settings are those of the published figures (docs/reference/evaluation.md#settings), except where a comment says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from molmo_agent.errors import UnknownNameError
from molmo_agent.evaluation.grounding.protocols import Protocol
from molmo_agent.evaluation.grounding.table import GROUNDING
from molmo_agent.evaluation.steps.table import ANDROID_CONTROL_ROW, STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """Which of our scores a published score compares with."""

    # Key in published_scores.json.
    key: str
    # Our score, see molmo_agent.evaluation.scoring.
    score: str
    # Restricts the score to this group of questions.
    group: str | None = None
    # The unweighted mean of the benchmark's groups, see Benchmark.mean_over, instead of all questions.
    over_groups: bool = False
    # Restricts the comparison to these values of the benchmark's options.
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark."""

    what: str
    # Description of --data.
    data: str
    # "module:function": turns a Source into an object with `questions()` and `problems`.
    reader: str
    # Name in molmo_agent.evaluation.scoring.
    metric: str
    # Style of questions whose reader sets none, and of those with options.
    style: str
    choice_style: str | None = None
    # A bank of wordings for labels; None: the question's text is the prompt.
    wording: str | None = None
    max_new_tokens: int = 12
    # Maximum number of crops in the published evaluation.
    crops: int = 36
    # Options of the reader with their defaults.
    options: Mapping[str, str | None] = field(default_factory=dict)
    published: tuple[PublishedScore, ...] = ()
    # The ways in which the field makes a number of the same answers; the first is the default.
    protocols: tuple[Protocol, ...] = ()
    # Groups of questions whose unweighted mean is the main score.
    mean_over: tuple[str, ...] = ()
    # Why figures may not be comparable.
    caveat: str = ""


_READERS = "molmo_agent.data.readers"
_SERVER = "The published figures are for the test split, whose answers are unpublished; this is another split."
_WITHOUT_MATHS_JUDGE = (
    "For the published figures a language model extracts the answer; here the reply must be the answer, so "
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
        published=(PublishedScore(key="VQAv2_testdev", score="vqa"),),
        caveat=_SERVER,
    ),
    "text_vqa": Benchmark(
        what="questions about text in photographs",
        data="the folder with TextVQA_0.5.1_val.json and train_images/, or the hub's parquet files",
        reader=f"{_READERS}.academic_texts:text_vqa",
        metric="vqa",
        style="text_vqa",
        options={"split": "validation"},
        published=(PublishedScore(key="TextVQA_val", score="vqa", when={"split": ("validation",)}),),
    ),
    "doc_qa": Benchmark(
        what="questions about scanned pages",
        data="the folder with val_v1.0_withQT.json and documents/, or the hub's parquet files",
        reader=f"{_READERS}.academic_texts:doc_qa",
        metric="anls",
        style="doc_qa",
        options={"split": "validation"},
        published=(PublishedScore(key="DocVQA_test", score="anls"),),
        caveat=_SERVER,
    ),
    "info_qa": Benchmark(
        what="questions about infographics",
        data="the folder with infographicsVQA_val_v1.0_withQT.json and images/",
        reader=f"{_READERS}.academic_texts:info_qa",
        metric="anls",
        style="info_qa",
        options={"split": "validation"},
        published=(PublishedScore(key="InfoQA_test", score="anls"),),
        caveat=_SERVER,
    ),
    "chart_qa": Benchmark(
        what="questions about charts, human and generated",
        data="the folder with test/test_human.json and test/png/, or the hub's parquet files",
        reader=f"{_READERS}.academic_charts:chart_qa",
        metric="relaxed",
        style="chart_qa",
        options={"split": "test"},
        published=(PublishedScore(key="ChartQA_test", score="relaxed", when={"split": ("test",)}),),
    ),
    "ai2d": Benchmark(
        what="multiple choice about diagrams, labels transparent or opaque",
        data="the folder with AI2D's questions/, annotations/, images/ and ai2d_test_ids.csv",
        reader=f"{_READERS}.academic_school:ai2d",
        metric="choice",
        style="ai2_diagram",
        options={"split": "test"},
        published=(
            PublishedScore(key="AI2D_test", score="right", group="transparent", when={"split": ("test",)}),
            PublishedScore(key="AI2D_test_opaque", score="right", group="opaque", when={"split": ("test",)}),
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
        published=(PublishedScore(key="MMMU_val", score="right", when={"split": ("validation",)}),),
        caveat="The published figures guess at random if a reply chooses nothing; here that counts as wrong.",
    ),
    "mathvista": Benchmark(
        what="mathematics with images",
        data="the folder with MathVista's parquet files",
        reader=f"{_READERS}.evaluation_only:math_vista",
        metric="math_vista",
        style="eval_short_answer",
        choice_style="eval_multiple_choice",
        options={"split": "testmini"},
        published=(PublishedScore(key="MathVista_testmini", score="right", when={"split": ("testmini",)}),),
        caveat=_WITHOUT_MATHS_JUDGE,
    ),
    "real_world_qa": Benchmark(
        what="questions about scenes from cars and everyday life",
        data="the folder with RealWorldQA's parquet files",
        reader=f"{_READERS}.evaluation_only:real_world_qa",
        metric="real_world_qa",
        style="eval_short_answer",
        choice_style="eval_multiple_choice",
        published=(PublishedScore(key="RealWorldQA", score="right"),),
    ),
    "okvqa": Benchmark(
        what="questions about photographs that need knowledge, ten answers each",
        data="the folder with OK-VQA's questions and annotations, COCO's val2014/ beside them",
        reader=f"{_READERS}.academic_photos:ok_vqa",
        metric="vqa",
        style="okvqa",
        options={"split": "validation"},
    ),
    "a_okvqa_mc": Benchmark(
        what="questions about photographs that need knowledge, multiple choice",
        data="the folder with aokvqa_v1p0_val.json, COCO's val2017/ beside it",
        reader=f"{_READERS}.academic_photos:a_okvqa",
        metric="choice",
        style="a_okvqa_mc",
        options={"form": "mc", "split": "validation"},
    ),
    "a_okvqa_da": Benchmark(
        what="the same, answered directly; difficult questions are left out",
        data="the folder with aokvqa_v1p0_val.json, COCO's val2017/ beside it",
        reader=f"{_READERS}.academic_photos:a_okvqa",
        metric="a_okvqa",
        style="a_okvqa_da",
        options={"form": "da", "split": "validation"},
    ),
    "science_qa": Benchmark(
        what="school questions with an image, multiple choice",
        data="the folder with problems.json and images/, or the hub's parquet files",
        reader=f"{_READERS}.academic_school:science_qa",
        metric="choice",
        style="science_qa",
        options={"split": "validation"},
    ),
    "st_qa": Benchmark(
        what="questions about text in scenes",
        data="the folder with train_task_3.json, of which 1,024 questions are held out, and the images",
        reader=f"{_READERS}.academic_texts:st_vqa",
        metric="anls",
        style="st_qa",
        options={"split": "validation"},
    ),
    "tabmwp": Benchmark(
        what="mathematics with tables",
        data="the folder with problems_test.json and tables/",
        reader=f"{_READERS}.academic_school:tabmwp",
        metric="exact",
        style="tabwmp_da",
        options={"split": "test"},
    ),
    "tally_qa": Benchmark(
        what="counting, simple and complex questions",
        data="the folder with test.json, COCO's and Visual Genome's images beside it",
        reader=f"{_READERS}.academic_photos:tally_qa",
        metric="counting",
        style="tally_qa",
        options={"split": "test"},
    ),
    "dv_qa": Benchmark(
        what="questions about drawn bar charts",
        data="the folder with val_easy_qa.json and images/; --split val_hard reads the other questions",
        reader=f"{_READERS}.academic_charts:dvqa",
        metric="exact",
        style="dv_qa",
        options={"split": "val_easy"},
    ),
    "figure_qa": Benchmark(
        what="yes-no questions about drawn charts",
        data="the folder with validation1/qa_pairs.json and validation1/png/",
        reader=f"{_READERS}.academic_charts:figure_qa",
        metric="exact",
        style="figure_qa",
        options={"split": "validation1"},
    ),
    "plot_qa": Benchmark(
        what="questions about drawn plots",
        data="the folder with validation/qa_pairs_V2.json and validation/png/",
        reader=f"{_READERS}.academic_charts:plot_qa",
        metric="relaxed",
        style="plot_qa",
        options={"split": "validation"},
    ),
    "countbench_qa": Benchmark(
        what="counting, 2 to 10",
        data="the folder with CountBench's parquet files and countbench_paired_questions.json",
        reader=f"{_READERS}.evaluation_only:count_bench_qa",
        metric="counting",
        style="point_count",
        max_new_tokens=192,
        crops=12,
        published=(PublishedScore(key="CountBenchQA", score="right"),),
    ),
    "pixmo_count": Benchmark(
        what="counting, 540 images",
        data="the folder with PixMo-Count's parquet files; --images: the images fetched by agent data fetch",
        reader=f"{_READERS}.pixmo_points:count",
        metric="counting",
        style="point_count",
        wording="point_count",
        # The authors' code uses 12 because of a misspelled name, which truncates answers with points.
        max_new_tokens=192,
        crops=12,
        options={"split": "test", "images": None},
        published=(PublishedScore(key="PixMoCount_test", score="right", when={"split": ("test",)}),),
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
            PublishedScore(key="PixMoPointsEval_493_f1", score="f1"),
            PublishedScore(key="PixMoPointsEval_493_precision", score="precision"),
            PublishedScore(key="PixMoPointsEval_493_recall", score="recall"),
        ),
        caveat="Images that are no longer on the web are missing here.",
    ),
    "pixmo_clocks": Benchmark(
        what="reading clocks",
        data="the folder with PixMo-Clocks' parquet files; --images: the watch faces by their ids",
        reader=f"{_READERS}.pixmo:clocks",
        metric="clock",
        style="clocks",
        options={"split": "train", "images": None},
    ),
    "clocks": Benchmark(
        what="reading clocks in photographs: COCO, Open Images and films",
        data="the folder with coco_final.csv, openimg_final.csv and movies_final.csv; --images: the images",
        reader=f"{_READERS}.clock_photos:ClockPhotos",
        metric="clock",
        style="clocks",
        crops=12,
        options={"form": "image", "images": None},
        published=(
            PublishedScore(key="ClockBench_overall", score="right within a minute", over_groups=True),
            PublishedScore(key="ClockBench_hour", score="hour", over_groups=True),
            PublishedScore(key="ClockBench_minute", score="minute", over_groups=True),
        ),
        mean_over=("coco", "openimages", "movies"),
        caveat="The publication does not state whether the models saw whole images or the clocks alone (--form crop).",
    ),
    "android_control": Benchmark(
        what=ANDROID_CONTROL_ROW.what,
        data=ANDROID_CONTROL_ROW.data,
        reader=ANDROID_CONTROL_ROW.reader,
        metric="steps",
        style="android_control",
        # The authors' limit of 16 truncates typed text.
        max_new_tokens=192,
        crops=12,
        options=ANDROID_CONTROL_ROW.options,
        protocols=ANDROID_CONTROL_ROW.protocols,
        published=(
            PublishedScore(
                key="AndroidControl_IDD_highlevel_step_acc",
                score="box_inside",
                when={"form": ("hl",), "split": ("test",), "subsplit": ("IDD",)},
            ),
            PublishedScore(
                key="AndroidControl_IDD_lowlevel_step_acc",
                score="box_inside",
                when={"form": ("ll", "hl_ll"), "split": ("test",), "subsplit": ("IDD",)},
            ),
        ),
        caveat=ANDROID_CONTROL_ROW.caveat,
    ),
    **{
        name: Benchmark(
            what=row.what,
            data=row.data,
            reader=row.reader,
            metric="steps",
            style="android_control",
            max_new_tokens=192,
            crops=12,
            options=row.options,
            protocols=row.protocols,
            caveat=row.caveat,
        )
        for name, row in STEPS.items()
    },
    **{
        name: Benchmark(
            what=row.what,
            data=row.data,
            reader=row.reader,
            metric="grounding",
            style="pointing",
            options=row.options,
            protocols=row.protocols,
        )
        for name, row in GROUNDING.items()
    },
    "questions": Benchmark(
        what="your own questions, each scored by its style",
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
        UnknownNameError: the benchmark does not exist; the message suggests the closest names.
    """
    plain = name.lower().replace("-", "_")
    if plain not in BENCHMARKS:
        raise UnknownNameError("benchmark", name, BENCHMARKS)
    return plain, BENCHMARKS[plain]
