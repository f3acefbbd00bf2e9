"""Replies that are clear, and ways to say that a target is not there: the corpus of the tests of replies."""

# One clear answer of each dialect, in which a point is at the centre.
CENTRE = {
    "molmo": '<point x="50.0" y="50.0" alt="Save">Save</point>',
    "molmo2": '<points coords="1 1 500 500">Save</points>',
    "molmo-tokens": '<point x="<|500|>" y="<|500|>" alt="Save">Save</point>',
    "gemini": '[{"point": [500, 500], "label": "Save"}]',
    "qwen": '[{"point_2d": [500, 500], "label": "Save"}]',
    "tuple": "(0.5, 0.5)",
    "gui": "click(start_box='(500,500)')",
}
SCALES = {"qwen": 1000, "gui": 1000}

DENIALS = """
Sadly the icon isn't displayed. | There were no close buttons. | There exists no such field.
I looked, but found nothing. | Could not be located. | The menu does not contain it.
My answer: not visible | It cannot be seen here. | No trash can here. | Nothing like that is shown.
The slider is off-screen. | The tab is out of view. | This page lacks a search box. | False
I am unable to tell. | I'm not certain. | It's only a guess. | I refuse to point at this. | n/a
result: none | found = no | is_visible: false | The checkbox has not been rendered.
Neither of them is the target. | The link is nowhere on this page.
The target is hidden behind a window. | Error: no such widget | This is wrong. | Impossible to find.
Der Knopf fehlt. | Davon ist nichts zu sehen. | Kein Menü gefunden. | Ich finde das Feld nicht.
Leider unmöglich. | Je ne trouve pas le champ. | Ce n’est pas là. | Aucune icône. | Rien à cet endroit.
L'élément est introuvable. | No encuentro el campo. | No está en la imagen. | Ningún icono.
El menú no aparece. | Imposible. | Non trovo il campo. | Nessuna icona. | Manca il menu.
Não encontro o campo. | Nenhum ícone. | Não está na tela. | Ik vind het veld niet.
Er is geen pictogram. | Ikonen finns inte. | Jag ser ingen meny. | Ikonet findes ikke.
Jeg finner det ikke. | Ei löydy. | Nie znaleziono. | Brak ikony. | Ikona neexistuje. | Nic tu není.
Nem látom. | Nincs ikon. | Nu găsesc câmpul. | Иконка не видна. | Такого поля нет.
Элемент отсутствует. | Немає такого поля. | Няма такъв бутон. | Δεν βρίσκω το πεδίο. | Simge yok.
Simgeyi göremiyorum. | 图标不在屏幕上。 | 没有这个菜单。 | 找不到图标。 | 沒有這個圖示。
アイコンは見えません。 | そのような項目はない。 | 아이콘이 없습니다. | 메뉴를 찾지 못했습니다.
لا توجد أيقونة. | الأيقونة غير موجودة. | הסמל אינו מופיע. | אין תפריט כזה. | आइकन नहीं है।
Không tìm thấy biểu tượng. | Ikon tidak ditemukan. | ไม่เห็นไอคอน | n\u200bot visible | NOT\u00a0FOUND
ｎｏｔ ｆｏｕｎｄ | It isn’t here.
"""
DENIALS = tuple(text.strip() for line in DENIALS.strip().split("\n") for text in line.split(" | "))

# Prose that says nothing against its answer.
CLEAR_PROSE = """
Sure, here it is: | The Save button is in the toolbar, next to Print. | Here you go! | Found it!
Answer: | No problem, here: | The button that closes the "No results" box: | Der Knopf ist hier:
Voici le bouton : | Aquí está el botón: | Ecco il pulsante: | Aqui está o botão: | De knop is hier:
Knappen är här: | Przycisk jest tutaj: | Tlačítko je zde: | Кнопка находится здесь: | 保存按钮在右上角：
保存ボタンはここです。 | 저장 버튼은 여기 있습니다. | الزر هنا: | Düğme burada: | Nút ở đây:
I see one window with 2 tabs. | Not only that, it is also highlighted: | None of the others matter.
ปุ่มอยู่ที่นี่ | बटन यहाँ है: | הכפתור כאן: | <b>Here</b> it is:
"""
CLEAR_PROSE = tuple(text.strip() for line in CLEAR_PROSE.strip().split("\n") for text in line.split(" | "))

# Reasoning before a call, with negations about something else.
CLEAR_REASONING = (
    "The window isn't maximized yet, so I click the button in its corner.",
    "The search box is not focused. I will click it.",
    "The menu did not open, so I click it again.",
    "I don't need to scroll; the button is in the upper right corner.",
    "To go on without an account, I click Skip.",
    "The field is empty, I click into it.",
    "我看到页面还没有加载完成，需要点击刷新按钮。",
    "不需要其他操作，点击保存按钮。",
    "まだ保存していないので、保存ボタンをクリックします。",
    "The side panel is hidden. I click its toggle to show it.",
)

# (dialect, scale, reply): whole answers of every family in their own forms; the point is at (0.25, 0.5).
CLEAR = [
    ("molmo", None, ' <point x="25.0" y="50.0" alt="Don\'t save">Don\'t save</point>'),
    ("molmo", None, '<point x="25.0" y="50.0" alt="No">No</point>'),
    ("molmo", None, '<point x="25.0" y="50.0" alt="None of these">None of these</point>'),
    ("molmo", None, '<point x="25.0" y="50.0" alt="Next >">Next ></point>'),
    ("molmo", None, '<point x="25.0" y="50.0" alt="a = 1, b = 2">a = 1, b = 2</point>'),
    ("molmo", None, '<points x1="25.0" y1="50.0" alt="cells">cells</points>'),
    ("molmo", None, 'Counting the <point x="25.0" y="50.0" alt="mug">mug</point> shows a total of 1.'),
    ("molmo", None, '<point x="25.0" y="50.0" alt="10:30">10:30</point>'),
    ("molmo", None, '<point x="25.0" y="50.0" alt="无法连接">无法连接</point><|endoftext|>'),
    ("molmo", None, "这里：<point x='25.0' y='50.0' alt='保存'>保存</point>。"),
    ("molmo2", None, '<points coords="1 1 250 500">Don\'t save</points>'),
    ("molmo2", None, '<points coords="1 1 250 500"/>'),
    ("molmo2", None, ' <points coords="1 1 250 500" alt="Save">Save</points><|im_end|>'),
    ("molmo2", None, 'Counting the <points coords="1 1 250 500">boat</points> shows a total of 1.'),
    ("molmo2", None, '<points coords="1 1 250 500">404 not found page</points>'),
    ("gemini", None, '[{"point": [500, 250], "label": "No, thanks"}]'),
    ("gemini", None, '```json\n[\n  {"point": [500, 250], "label": "save"}\n]\n```'),
    ("gemini", None, '{"point": [500, 250]}'),
    ("gemini", None, '[{"label": "Save", "point": [500, 250], "visible": true}]'),
    ("gemini", None, '[{"box_2d": [400, 200, 600, 300], "label": "Save"}]'),
    ("gemini", None, 'Here is the point:\n```json\n[{"point": [500, 250], "label": "Save"}]\n```\nAnything else?'),
    ("gemini", None, '[{"point": [500, 250], "label": "Save", "confidence": 0.93}]'),
    ("qwen", 1000, '[{"point_2d": [250, 500], "label": "Not now"}]'),
    ("qwen", 1000, '```json\n[\n\t{"point_2d": [250, 500], "label": "x"}\n]\n```'),
    ("qwen", 1000, '{"bbox_2d": [200, 400, 300, 600], "label": "x", "id": 3}'),
    ("qwen", 1000, "<think>It isn't at [1, 2], but at [250, 500].</think>\n\n" + '{"point_2d": [250, 500]}'),
    (
        "qwen",
        1000,
        '<tool_call>\n{"name": "computer_use", "arguments": {"action": "left_click", "coordinate": [250, 500]}}\n'
        "</tool_call>",
    ),
    (
        "qwen",
        1000,
        "The dialog is not closed yet.\n"
        '<tool_call>\n{"name": "mobile_use", "arguments": {"action": "click", "coordinate": [250, 500]}}\n</tool_call>',
    ),
    ("tuple", None, "[(0.250, 0.500)]"),
    ("tuple", None, "(0.25, 0.5)"),
    ("tuple", None, "The mug is at (0.25, 0.5)."),
    ("tuple", None, "Answer:\n[(0.25, 0.5)]\n"),
    ("gui", 1000, "Thought: The page isn't loaded, I refresh.\nAction: click(start_box='(250,500)')"),
    ("gui", 1000, "Thought: 页面还没有加载完成。\nAction: click(start_box='<|box_start|>(250,500)<|box_end|>')"),
    ("gui", 1000, "Action: click(point='<point>250 500</point>')"),
    ("gui", 1000, "Thought: I double-click later.\nAction: click(start_box='[200, 400, 300, 600]')"),
    ("gui", 1, "pyautogui.click(x=0.25, y=0.5)"),
    ("gui", 1, "```python\npyautogui.click(x=0.25, y=0.5, button='left')\n```"),
    (
        "gui",
        1,
        "# Step 2:\n## Thought:\nThe file is not saved yet.\n\n## Action:\nClick the Save button.\n\n"
        "## Code:\n```python\npyautogui.click(x=0.25, y=0.5)\n```",
    ),
    ("gui", 1000, "<ref>Don't save</ref><box>[[200, 400, 300, 600]]</box>"),
    (
        "gui",
        1000,
        "<|object_ref_start|>No<|object_ref_end|><|box_start|>(200,400),(300,600)<|box_end|>",
    ),
    ("gui", 1000, "[200, 400, 300, 600]"),
    ("gui", 1000, "(250, 500)"),
    ("gui", 1000, '{"x": 250, "y": 500}'),
    ("gui", 1000, '{"action": "click_absolute", "x": 250, "y": 500}'),
    ("gui", 1000, '<answer>\n{"coordinate": [250,500]}\n</answer>'),
    ("gui", 100, "Click(25.0, 50.0)"),
]
