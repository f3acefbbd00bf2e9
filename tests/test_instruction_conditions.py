"""What the grammar refuses: prohibitions, conditions, repetitions, alternatives, questions; and labels it keeps."""

import pytest

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.splitter import split_instruction

LEAVE_OUT = "leave out what is not to be done"
ONE_BY_ONE = "conditions and repetitions are not understood: name the steps one by one"


def refusal(text):
    with pytest.raises(UsageError) as error:
        split_instruction(text)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "do not click Delete",
        "do   not click Delete",
        "DON'T CLICK DELETE",
        "don’t click Delete",
        "don´t click Delete",
        "dont click Delete",
        "don＇t click Delete",
        "do\u00a0not click Delete",
        "please never click Delete",
        "I don't want you to click Delete",
        "you must not click Delete",
        "the Delete button mustn't be clicked",
        "under no circumstances click Delete",
        "avoid the Delete button",
        "only click Save",
        "click Save, but do not click Delete",
        "click Save and don't click Delete",
        "click Save; never click Delete",
        "click Save. Do not click Delete.",
        "click Save\nDo not click Delete",
        "click Save without closing the window",
        "click everything except Delete",
        "click all but the last row",
        "click Save, not Delete",
        "click Save instead of Delete",
        "click Save rather than Delete",
        "click any button other than Delete",
        "right-click the file, but not the folder",
        "drag the file to Trash without opening it",
        'fill in Name with "Ada" without submitting',
        "press Enter but not Tab",
        "close the window, never the tab",
    ],
)
def test_a_prohibition_is_refused_wherever_it_stands(text):
    assert LEAVE_OUT in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "click Buy if the price is below 10",
        "click Buy IF the price is below 10",
        "if the price is below 10, click Buy",
        "If the price is low: click Buy",
        "in case the price is low, click Buy",
        "as soon as the dialog opens, click OK",
        "click OK once the page is there",
        "click OK when ready",
        "click when ready",
        "select if possible the first row",
        "delete the draft unless it is starred",
        "drag the file to Trash unless it is important",
        "press Enter if a dialog shows",
        "press ctrl+s if the title has a star",
        "press Down until the row is selected",
        "scroll down until Save is visible",
        "wait until it is done",
        "click Next until the last page",
        "click Next as long as it is there",
        "click Next again and again",
        "click Like for each photo",
        "press Enter while the dialog is open",
        "stop before clicking Pay",
        "click Next, otherwise click Back",
        "click A then if needed click B",
        "type yes if asked",
        'type "yes" into Answer unless it is filled',
        'fill in Name with "Ada" if it is empty',
        "go back unless it is the first page",
        "launch Clock if needed",
        "repeat the last step",
        "turn on Wi-Fi provided that it is off",
        "click the toggle whether or not it is on",
    ],
)
def test_a_condition_is_refused_wherever_it_stands(text):
    message = refusal(text)
    assert ONE_BY_ONE in message
    assert "If '" in message
    assert "belongs to a label or a text, put that in quotes" in message


@pytest.mark.parametrize(
    "text",
    [
        "click Save or Cancel",
        "type no or yes",
        "click either Save or Close",
        "press Escape or Enter",
        "type yes or no into Answer",
    ],
)
def test_an_alternative_is_refused(text):
    assert "choose one of the two" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "should I click Delete?",
        "is it safe to click Delete?",
        "What happens after Save",
        "may I click Delete",
        "you may want to click Delete",
        "the Delete button is to be clicked",
        "be careful with Delete",
        "stop clicking Delete",
        "clicking Delete is forbidden",
        "Delete is off limits",
        "Save?",
    ],
)
def test_a_question_or_a_remark_names_nothing_to_click(text):
    message = refusal(text)
    assert (
        "expected a verb and what it is done to, or the name of one thing to click, got" in message
        or "expected an order, such as: click Save" in message
        or LEAVE_OUT in message
    )
    assert "in quotes" in message


@pytest.mark.parametrize(
    "text",
    [
        "klicke nicht auf Löschen",
        "Nicht auf Löschen klicken",
        "klicke auf Löschen, wenn es rot ist",
        "ne cliquez pas sur Supprimer",
        "cliquez sur Supprimer sans fermer",
        "no haga clic en Eliminar",
        "haz clic en Eliminar cuando sea rojo",
        "não clique em Excluir",
        "non cliccare su Elimina",
        "klik niet op Verwijderen",
        "klicka inte på Ta bort",
        "nie klikaj Usuń",
        "не нажимайте Удалить",
        "нажмите Купить, если дешево",
        "不要点击删除",
        "如果便宜就点击购买",
        "削除をクリックしないでください",
        "삭제를 클릭하지 마세요",
        "لا تنقر على حذف",
    ],
)
def test_another_language_does_not_get_a_prohibition_through(text):
    assert "instructions are read in English, and name only what is to be done" in refusal(text)


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("click Don't save", ["Don't save"]),
        ("click Don’t Save, then press Enter", ["Don’t Save"]),
        ("tick Never show again", ["Never show again"]),
        ("click the Never ask again button", ["the Never ask again button"]),
        ("click on Do not disturb", ["Do not disturb"]),
        ("turn on Do not disturb and click Done", ["Do not disturb", "Done"]),
        ("tick I don't agree", ["I don't agree"]),
        ("click I can't sign in", ["I can't sign in"]),
        ("click Without borders", ["Without borders"]),
        ("tap Not now", ["Not now"]),
        ("press Don't save", ["Don't save"]),
        ("choose If needed", ["If needed"]),
        ("select When idle from the list", ["When idle from the list"]),
        ("select Only me", ["Only me"]),
        ("select Read only", ["Read only"]),
        ("drag the slider to Never", ["the slider", "Never"]),
        ('click "If you must"', ['"If you must"']),
        ('click the "Continue without saving" button', ['the "Continue without saving" button']),
        ('"Don\'t save"', ['"Don\'t save"']),
        ("click Forgot password?", ["Forgot password"]),
        ("can you click Save?", ["Save"]),
        ("I want you to click Save", ["Save"]),
        ("click Save once", ["Save"]),
        ("click Order history", ["Order history"]),
        ("click Notes", ["Notes"]),
        ("click the butter knife", ["the butter knife"]),
        ("click Canvas, then Orange", ["Canvas", "Orange"]),
        ("click the field after Name", ["the field after Name"]),
        ("Terms and Conditions", ["Terms and Conditions"]),
        ("Senden", ["Senden"]),
        ("类别", ["类别"]),
        ("the Noto Sans font", ["the Noto Sans font"]),
        ("the Submit button", ["the Submit button"]),
        ("the item that is selected", ["the item that is selected"]),
    ],
)
def test_a_label_may_hold_such_words(text, targets):
    assert [target for step in split_instruction(text) for target in step.targets] == targets


def test_a_text_to_type_may_begin_with_such_words_or_hold_them_in_quotes():
    for text, typed in (
        ("type Don't panic", "Don't panic"),
        ("type I can't come into Message", "I can't come"),
        ('type "if in doubt, don\'t" into Message', "if in doubt, don't"),
        ("fill in Remark with Don't ring", "Don't ring"),
        ("set the Sleep field to Never", "Never"),
    ):
        assert split_instruction(text)[-1].value == typed
