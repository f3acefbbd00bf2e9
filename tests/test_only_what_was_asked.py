"""Only what was asked is done: orders are carried out step by step, and whatever else a person says is refused."""

import re
from pathlib import Path

import pytest

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.splitter import split_instruction

CORPORA = Path(__file__).parent / "corpora"


def tasks(name):
    """Return the lines of a corpus, with the escapes of characters that an editor does not show resolved."""
    lines = (CORPORA / name).read_text(encoding="utf-8").splitlines()
    characters = {"n": "\n", "t": "\t"}
    return [
        re.sub(r"\\(u[0-9a-f]{4}|n|t)", lambda escape: characters.get(escape[1]) or chr(int(escape[1][1:], 16)), line)
        for line in lines
        if line and not line.startswith("# ")
    ]


def written(step):
    """Return a step in the notation of the corpus."""
    gesture = "replace" if step.gesture == "type" and step.replace else step.gesture
    words = ["+".join((*step.held, gesture))]
    if gesture == "scroll":
        words.append(step.direction)
    if step.amount:
        words.append(f"{step.amount:g}")
    if step.targets:
        words.append(" -> ".join(step.targets))
    if step.value:
        words.append(step.value.replace(" ", "+") if gesture == "key" else step.value)
    return " ".join(words)


def carried_out(task):
    try:
        return " | ".join(map(written, split_instruction(task)))
    except UsageError as error:
        return f"refused: {error}"


def followed(texts):
    """Return those of the texts that are carried out, with what is done."""
    results = {text: carried_out(text) for text in texts}
    return {text: done for text, done in results.items() if not done.startswith("refused: ")}


def refusal(text):
    with pytest.raises(UsageError) as error:
        split_instruction(text)
    return str(error.value)


def test_every_task_that_is_no_order_is_refused():
    refused = tasks("tasks_refused.txt")
    assert len(set(refused)) >= 300
    assert followed(refused) == {}


def test_every_order_is_carried_out_as_it_was_given():
    orders = [line.rpartition(" => ") for line in tasks("tasks_carried_out.txt")]
    assert len({task for task, _, _ in orders}) >= 300
    wrong = {task: done for task, _, steps in orders if (done := carried_out(task)) != steps.rstrip(" ")}
    assert wrong == {}


@pytest.mark.parametrize(
    "gesture",
    [
        "click Pay",
        "press Enter",
        "type yes",
        "drag A to B",
        "scroll down",
        "double-click the file",
        "go back",
        "wait 2 s",
    ],
)
def test_words_that_make_something_else_of_an_order_are_refused_behind_every_verb(gesture):
    endings = [
        "if it is green",
        "unless I say so",
        "when asked",
        "until it works",
        "without asking",
        "but only once",
        "or not",
        "instead of Close",
        "while it loads",
        "as soon as possible",
        "before clicking Close",
        "again and again",
        "never mind",
    ]
    assert followed(f"{gesture}{join}{ending}" for join in (" ", ", ", " - ") for ending in endings) == {}


@pytest.mark.parametrize("apostrophe", [*"'’‘‛＇`´ʼ′ʻ՚", "", " '", "' ", " ' "])
@pytest.mark.parametrize("blank", [" ", "   ", "\t", "\u00a0", "\u2003", "\u3000", "\u2800", "\n", "\u2028", "\x0b"])
def test_a_contraction_is_refused_with_every_apostrophe_and_blank(apostrophe, blank):
    verbs = ("don", "mustn", "shouldn", "can")
    assert followed(f"{verb}{apostrophe}t{blank}click{blank}Pay" for verb in verbs) == {}
    assert followed([f"you{blank}do{blank}not{blank}click Pay", f"click Pay{blank}if{blank}cheap"]) == {}


def test_styled_letters_and_look_alikes_hide_no_prohibition():
    hidden = [
        "𝐝𝐨 𝐧𝐨𝐭 click Pay",
        "ｎｅｖｅｒ click Pay",
        "click Pay ｉｆ cheap",
        "d\u043e n\u043et click Pay",
        "n\u03bft now",
    ]
    assert followed(hidden) == {}
    assert "letters of two alphabets in one word, which look alike" in refusal("click P\u0430y")


@pytest.mark.parametrize("sign", ["\u200b", "\u200e", "\u202e", "\u2066", "\u00ad", "\u2060", "\ufeff", "\x00", "\x1b"])
def test_an_invisible_character_is_refused_outside_of_quotes_and_named(sign):
    message = refusal(f"do n{sign}ot click Pay")
    assert f"got the invisible character U+{ord(sign):04X} at position 5" in message
    assert "delete it, or put the text around it in quotes" in message
    assert carried_out(f'type "a{sign}b"') == f"type a{sign}b"


def test_invisible_characters_around_a_task_and_within_other_scripts_are_harmless():
    for task in ("\ufeffclick Pay", "click Pay\u200b", "\u200eclick Pay\u200e\n"):
        assert carried_out(task) == "click Pay"
    for name in ("👩\u200d🚀", "می\u200cخواهم"):
        assert carried_out(f"click {name}") == f"click {name}"


def test_a_quote_inside_a_quote_is_refused():
    for text in ('click "Pay but do not click "Close" now"', "type 'rock 'n' roll'", "click `a `b` c`"):
        assert "a quote begins inside a quote; use another sign outside" in refusal(text)
    assert carried_out("type \"rock 'n' roll\"") == "type rock 'n' roll"


def test_quoted_words_are_never_searched():
    texts = ["do not", "if cheap", "A or B", "never", "should I?", "nicht jetzt", "he said so", "不要", "only\u200bme"]
    for text in texts:
        assert carried_out(f'click "{text}"') == f'click "{text}"'
        assert carried_out(f"the «{text}» button") == f"click the «{text}» button"
        assert carried_out(f"type “{text}” into Note") == f"click Note | type {text}"


def test_a_prohibition_is_refused_though_parts_of_it_are_in_quotes():
    texts = ["do 'not' click Pay", 'never "click" Pay', '"click Pay" is what I did not say', "don 't click 'Pay'"]
    assert followed(texts) == {}


def test_a_label_may_begin_with_such_a_word_in_a_capital_letter():
    for label in ("Don't Save", "Not Now", "Only Me", "Never", "If Needed", "While Charging", "Without Sound", "No"):
        assert carried_out(f"click {label}") == f"click {label}"
        assert carried_out(f"press the {label} button") == f"click the {label} button"
    in_doubt = [
        "click don't save",
        "press not now",
        "Don't save",
        "Not now",
        "click Don't Click Pay",
        "click Save Without Sound",
        "CLICK DON'T SAVE",
    ]
    assert followed(in_doubt) == {}


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Send message", 'say for example: click "Send message"'),
        ("hold the button for 3 seconds", "how long a press lasts cannot be chosen: say only what is held"),
        (
            "enter Ada Berg as the name",
            "it is not clear whether 'as the name' belongs to the text; put the text in quotes",
        ),
        ("click Pay but not Close", "leave out what is not to be done"),
        ("click Pay only", "leave out what is not to be done"),
        ("click Pay if cheap", "conditions and repetitions are not understood: name the steps one by one"),
        ("keep clicking Next", "conditions and repetitions are not understood: name the steps one by one"),
        ("click Pay or Close", "choose one of the two"),
        ("click something", "name the one thing that is meant"),
        ("click both buttons", "name the one thing that is meant, one step for each"),
        ("click Pay tomorrow", "to wait before it, say for example: wait 5 seconds, then click Save"),
        ("click Pay next week", "an order is carried out at once"),
        ("click Pay? Please", "questions are not answered: say what is to be done"),
        ("click what is red", "name one thing on the screen"),
        ("click on the", "name one thing on the screen"),
        ("click Pay after Close", "steps are done in the order in which they are named: say A, then B"),
        ("click Pay, cancel that", "give an order without taking it back"),
        ("click Pay, oops", "give an order without taking it back"),
        ("you must click Pay", "expected an order, such as: click Save"),
        ("Anna told me to click Pay", "expected an order, such as: click Save"),
        ("click Pay and delete the file", "expected only the name of what the verb is done to"),
        ("write a poem", "name the field, and the text to type"),
        ("fill in everything with x", "name the field, and the text to type"),
        ("klicke auf Zahlen", "instructions are read in English, and name only what is to be done"),
        ("click Pay wenn es grün ist", "instructions are read in English"),
        ("delete the file", "expected a verb and what it is done to, or the name of one thing to click, got 'delete'"),
        ("Bob, click Pay", 'it may be a button or a remark; leave it out, or say: click "Bob"'),
        ("OK, click Pay", "it may be a button or a remark"),
        ("on error, click Retry", "it may be a button or a remark"),
    ],
)
def test_a_refusal_says_what_to_say_instead(text, advice):
    message = refusal(text)
    assert advice in message
    assert "in quotes" in message or "leave it out, or say" in message


def test_one_field_is_cleared_at_a_time():
    for fields in (
        "the Name field and the Town field",
        "the search box, the Name field",
        "the Name field & the Town field",
    ):
        assert "expected one field to clear; say for example: fill in Name with" in refusal(f"clear {fields}")


def test_a_text_without_a_verb_names_one_thing_or_is_refused():
    names = ["the Save button", "Löschen", "OK", "File > Save as...", "Nachricht senden", "the man with the red hat"]
    for name in names:
        assert carried_out(name) == f"click {name}"
    sentences = [
        "the Save button was pressed",
        "frobnicate the file",
        "Anna opened it",
        "we are done",
        "it is Monday",
        "delete file",
        "Send money",
        "the file, remove it",
        "Nobody knows",
        "Save. It is late",
    ]
    assert followed(sentences) == {}


def test_a_later_step_that_is_no_order_stops_the_whole_task():
    rest = ["don't click B", "if green, click B", "delete the file", "is it green?", "klicke auf B", "I clicked B"]
    assert followed(f"click A{join}{what}" for join in ("; ", "\n", ", then ", ". Then ") for what in rest) == {}


@pytest.mark.parametrize(
    "texts",
    [
        ["Öffne die Datei", "Bitte auf Senden klicken", "Fenster nicht schließen", "Wenn grün, dann Weiter"],
        ["Ouvrez le fichier", "Cliquez sur Envoyer", "n'ouvre pas le fichier", "sauf si rouge"],
        ["Abra el archivo", "Haz clic en Enviar", "no abras el archivo", "pulsa Enviar cuando puedas"],
        ["Apri il file", "Clicca su Invia", "non aprire il file", "premi Invia senza leggere"],
        ["Abra o arquivo", "Clique em Enviar", "não abra o arquivo", "toque em Enviar até o fim"],
        ["Open het bestand niet", "Klik op Verzenden", "Sluit alle vensters", "druk op OK tenzij rood"],
        ["Otwórz plik", "Kliknij Wyślij", "nie otwieraj pliku", "jeśli zielony, kliknij OK"],
        ["Открой файл", "Нажмите Отправить", "не открывай файл", "если можно, нажми ОК"],
        ["打开文件", "点击发送", "不要打开文件", "如果可以就点击发送"],
        ["ファイルを開いて", "送信をクリック", "送信を押さないで", "もし赤ならクリック"],
        ["Dosyayı aç", "Gönder'e tıkla", "dosyayı açma", "eğer kırmızıysa bas"],
        ["Öppna filen", "Klicka på Skicka", "öppna inte filen", "tryck på OK om du kan"],
        ["파일을 열어", "보내기를 클릭하세요", "파일을 열지 마세요", "보내기 버튼을 눌러 줘"],
        ["افتح الملف", "اضغط على إرسال", "لا تفتح الملف"],
        ["napsauta Lähetä", "avaa tiedosto", "älä avaa tiedostoa"],
    ],
    ids=lambda texts: texts[0],
)
def test_an_instruction_in_another_language_is_refused(texts):
    assert followed(texts) == {}
    assert all("in quotes" in refusal(text) for text in texts)


def test_a_request_is_an_order_and_a_question_is_not():
    for request in (
        "can you click Pay?",
        "Could you please click Pay?",
        "would you click Pay",
        "please click Pay, thanks",
    ):
        assert carried_out(request) == "click Pay"
    assert carried_out("can you click A and click B?") == "click A | click B"
    assert carried_out("click Forgot password?") == "click Forgot password"
    assert (
        followed(["can I click Pay?", "click Pay?", 'click "Pay"?', "click Pay ?", "can you click Pay or Close?"]) == {}
    )


def test_an_entry_of_a_menu_may_have_the_name_of_a_verb():
    assert carried_out("click File, then Open") == "click File | click Open"
    assert carried_out("click Edit then Paste; click Move") == "click Edit | click Paste | click Move"
    assert "does not say what" in refusal("click File, then click")


def test_counts_and_times_that_make_no_sense_are_refused():
    texts = ["wait 3601 s", "wait 61 minutes", "wait 99999 hours", "click A 21 times", "press Tab 0 times"]
    texts += ["scroll down 101", "scroll up 100000", "click A a million times", "click A 2.5 times", "wait for ever"]
    assert followed(texts) == {}
    assert carried_out("wait 60 minutes, scroll down 100") == "wait 3600 | scroll down 100"


def test_a_text_of_any_length_is_refused_at_once():
    for piece in ("click A, ", "don't ", "a", "「", "if "):
        assert "expected an instruction of at most 20000 characters, got 100000" in refusal((piece * 100_000)[:100_000])
