"""Words that deny an answer, in many languages. They take a point away and never make one.

A model that points and says that the target is not there is not clear, in whatever language it says so. Prose beside an
answer that has a negation in it is therefore a denial. The reasoning before a call (``Thought: ... Action: ...``) has
negations of its own ("the menu is not open yet"): there, only sentences that say that something is not seen or not
there are denials, in the languages in which such models reason; in other languages any negation is.

Texts are compared without case, accents and invisible characters. Words of scripts without blanks are found anywhere.
"""

import re
import unicodedata

# Whole words. Without accents; an apostrophe within a word is left out: "dont".
_NEGATIONS = """
    no not none never nothing nowhere neither nor nope nah cannot cant dont doesnt didnt isnt arent wasnt werent wont
    wouldnt couldnt shouldnt hasnt havent hadnt mustnt aint unable impossible unsure uncertain nonexistent invisible
    unavailable guess guessing guessed false null nil nan undefined lack lacks lacking failed fails refuse refuses
    decline declines sorry apologize apologise apologies offscreen oops
    nicht kein keine keinen keinem keiner keines nichts niemals nirgends nirgendwo nein leider unmoglich unsichtbar
    fehlt fehlen
    pas ne non aucun aucune rien jamais introuvable impossible desole absent absente manquant
    ningun ninguno ninguna ningunos nada nunca tampoco imposible ausente falta
    nessun nessuno nessuna niente nulla impossibile assente manca
    nao nenhum nenhuma impossivel
    niet geen niets nooit nergens onmogelijk ontbreekt nee onzichtbaar
    inte ingen inget inga ej aldrig ikke intet ingenting saknas mangler nei nej ekki
    ei eivat puuttuu
    nie brak zaden zadna zadnego zadne niestety
    neni nelze zadny zadna chybi neexistuje neexistuji nenalezen nenalezeno nevidim nemohu nemuzu niesu
    nem nincs nincsenek sem hianyzik
    nu niciun nicio lipseste
    ne nije nema nisu
    нет не ни нету нельзя никак никакой никакого никакая отсутствует отсутствуют невозможно невидим невидима
    немає нема ні відсутня відсутній відсутнє няма липсва није нема
    δεν οχι μη κανενα καμια κανεις
    yok yoktur degil hayir hic
    لا ليس ليست غير لم لن لايوجد نیست نیستند ندارد نمی نمیتوانم نہیں
    לא אין אינו אינה אינם איננו
    नहीं नही मत না নেই নয় இல்லை లేదు ഇല്ല ಇಲ್ಲ નથી ਨਹੀਂ
    khong chua chang tidak bukan belum tiada nggak tak wala hakuna hapana
"""
# Anywhere: scripts without blanks, and endings that deny.
_PIECES = (
    "没|沒|不|无(?![线线限障人])|無(?![線料限人])|未|缺少|缺失|抱歉|否(?!则)|ません|ない|なし|無い|無し|存在せ|見当たら"
    "|없|않|못|아니|모르|(?:^|\\s)안\\s|ไม่|ບໍ່|មិន|မရှိ|မတွေ့"
    "|\\w(?:miyor|muyor|amadi|emedi|mamis|memis)\\w{0,3}\\b"
    "|\\bn/a\\b|\\bn[’'ʼ](?=[aeiouyh])"
)
# Negations that deny nothing, and what is left of names of targets in quotes.
_SAME = str.maketrans("ıđ،、", "id,,")
_NOT = re.compile("(?<=[a-z])n[’'ʼ]t\\b")
_HARMLESS = re.compile(
    r"\bno (?:problem|worries|doubt|longer needed)\b|\bnot (?:only|just)\b|\bnone of the other\w{0,2}\b"
    r"|\bnothing else\b|\bno other\b|\bdo not (?:worry|hesitate|need|have to)\b"
)
_QUOTED = re.compile('["“«「『][^"“”«»「」『』\n]{1,40}["”»」』]')
# English, in reasoning too: what is not seen or not there, and answers in the form of fields.
_SEEN = r"(?:visible|present|shown|displayed|found|rendered|t?here|available|in view)\b"
_SEE = r"(?:see|find|found|show|locate[ds]?|spot|detect|identify|determined?|tell|point|recognize)\b"
_GONE = re.compile(
    r"\b(?:is|are|was|were|be|seems?|appears?|target|element|button|result|status|answer)\s{0,3}[:=]?\s{0,3}"
    r"(?:currently |completely |probably |to be |simply |just )?"
    r"(?:absent|missing|off-? ?screen|out of (?:view|frame|sight|range)|nowhere|unsure|uncertain|a guess|"
    r"outside (?:of )?(?:the|this) (?:image|screen|picture|screenshot|view))\b"
    r"|(?:^|[.!?:\n(])\W{0,4}(?:absent|missing|hidden|off-? ?screen|out of (?:view|frame|sight))\W{0,4}(?:$|[.!?\n)])"
    rf"|\b(?:not|no longer|never|cannot be|not been)\s{{1,3}}(?:\w{{1,12}}\s{{1,3}})?{_SEEN}"
    r"|\bnot\s{1,3}(?:\w{1,12}\s{1,3})?(?:sure|certain|exist|contain|any|have such)\b|\bmust not\b"
    r"|\b(?:not|cannot|unable to|not able to|failed to|fail to|impossible to)\s{1,3}(?:be\s{1,3}|quite\s{1,3})?"
    rf"{_SEE}"
    r"|\b(?:see|find|found|exists?)\s{1,3}(?:no|none|nothing)\s{1,3}(?!longer|doubt)\w"
    r"|\blacks\b|\brefuse[sd]?\b|\bonly a guess\b"
    r"|\bno\s{1,3}(?:such|match|matches|matching|results?)\b|\bnothing\s{1,3}match"
    r"|\berror\s{0,2}:|\b(?:found|visible|present|exists?|confidence)\s{0,3}[:=]\s{0,3}"
    r"(?:0(?![.,]?[0-9])|no\b|none\b|null\b|false\b)"
)
# English, beside an answer: what is there but cannot be pointed at, and second thoughts.
_DOUBTED = re.compile(
    r"\b(?:is|are|was|were|be|seems?|appears?|looks?|target|element|result|status|answer)\s{0,3}[:=]?\s{0,3}"
    r"(?:\w{1,12} )?(?:hidden|obscured|occluded|unclear|unknown|outside|gone|wrong|incorrect|refused|elsewhere|empty)\b"
    r"|(?:^|[.!?:\n(])\W{0,4}(?:unknown|unclear|empty|wrong)\W{0,4}(?:$|[.!?\n)])"
    r"|\b(?:was|were|be|been|is|are|got|just) (?:\w{1,12} )?(?:removed|deleted|unsafe)\b|\b(?:disappeared|vanished)\b"
    r"|\b(?:used to be|hard to (?:tell|say)|dangerous to|harmful to|have to scroll|need to scroll|request denied)\b"
    r"|\b(?:screen|image|picture|page|screenshot) is (?:\w{1,12} )?(?:blank|black(?! and)|white)\b"
    r"|\bwithout (?:success|luck)\b|\b(?:zero|0) (?:results|matches|hits)\b|\bonly (?:an? |the )?\w{1,20} is shown\b"
    r"|\b(?:see|there (?:is|are)|shows?) only (?!one\b|1\b)"
    r"|\b(?:it|that|this) (?:was|were|would be) (?:at|here|there)\b"
)
# English, beside an answer: of a point that is none.
_NO_ANSWER = re.compile(
    r"\bfor example\b|\be\.g\b|\bexample\s{0,3}:|\bthe format is\b|\bignore (?:this|it|that)\b"
    r"|\bwrong (?:place|point|one)\b|\b(?:anything|everything|all) (?:but|except)\b|\bpreviously\W{0,3}(?:$|[:.\n])"
    r"|\bif (?:it|this|that|there) (?:were|was)\b"
)
# The same in Chinese, Japanese and Korean: languages in which models that act on screens reason.
_GONE_CJK = re.compile(
    "(?:没有?|沒有?|未能?|无法|無法|不能|并未)(?:能)?(?:找|看|发现|發現|显示|出现)|不存在|[找看]不[到见見]|不可[见見]"
    "|[没沒]有(?:这|這|此|该|該|任何)|不在(?:图|画|屏|界|页|截)|できません|(?:图|画面|屏幕|界面|页面|图片|截图|图像)[上中里内]?(?:并)?(?:没有|无)"
    "|缺失|無し|なし|存在し(?:な|ま)|見当たら|見つから|見つかりま"
    "|見え(?:な|ま)|ありません|表示されてい(?:な|ませ)|不明|[はが]ない|없|보이지|[찾보]지 못|존재하지|찾을 수"
)
_WORD = re.compile(r"[^\s\d!-/:-@\[-`{-~。，！？।؟“”«»「」『』（）]+")
_SENTENCE_END = re.compile(r"[.!?。！？؟।\n]")
# A sentence with one of these is English.
_ENGLISH = re.compile(
    r"\b(?:the|this|that|it|and|need|should|will|click|with|which|from|then|there|because|let|has|have)\b"
)
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def plain_words(text: str) -> str:
    """Return a text for comparing: without case, accents and invisible characters, with digits of ASCII."""
    if text.isascii():
        return text.casefold()
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    kept = (
        character
        for character in folded
        if not "\u0300" <= character <= "\u036f" and unicodedata.category(character) != "Cf"
    )
    plain = unicodedata.normalize("NFC", "".join(kept)).translate(_SAME)
    if plain.isascii():
        return plain
    return "".join(
        str(unicodedata.decimal(character)) if not character.isascii() and character.isdecimal() else character
        for character in plain
    )


_WORDS = frozenset(plain_words(_NEGATIONS).split())
_PIECE = re.compile(plain_words(_PIECES))


def denial(prose: str, *, reasoning: bool = False) -> str:
    """Return the words with which a text denies an answer; "" if it denies nothing.

    Args:
        prose: a text beside an answer.
        reasoning: whether it is the reasoning before a call, in which a negation alone denies nothing.
    """
    plain = _HARMLESS.sub(" ", _NOT.sub(" not", plain_words(prose)))
    # A name in quotes is a target; a text that is nothing but a quotation is an answer.
    unquoted = _QUOTED.sub(" ", plain)
    if not _WORD.search(unquoted):
        unquoted = plain
    if gone := _GONE.search(unquoted) or _GONE_CJK.search(unquoted):
        return gone[0].strip()
    if not reasoning:
        doubt = _DOUBTED.search(unquoted) or _NO_ANSWER.search(unquoted)
        return doubt[0].strip() if doubt else _negation(unquoted)
    sentences = (text for text in _SENTENCE_END.split(unquoted) if not _ENGLISH.search(text) and not _CJK.search(text))
    return next(filter(None, map(_negation, sentences)), "")


def _negation(plain: str) -> str:
    for word in _WORD.findall(plain.replace("'", "").replace("’", "")):
        if word in _WORDS:
            return str(word)
    piece = _PIECE.search(plain)
    return piece[0].strip() if piece else ""
