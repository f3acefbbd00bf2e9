"""Words by which an instruction in another language is recognized, so that it is refused and nothing is clicked.

Only English is understood. A label may be in any language: one word alone is always a label, and so are several words
without a verb of this table, without an article and without a negation: ``Löschen``, ``Nachricht senden``.
"""

import re

# Imperatives, and the words for gestures in any form. Words that mean something in English are left out.
_VERBS = {
    "German": """
        anklicken antippen anklicke klick klicke klicken klickt klickst geklickt drück drücke drücken drückt druecke
        tippe tippen tippt öffne oeffne schließe schliesse lösche loesche speichere sende schicke wähle waehle gib
        gehe geh starte beende ziehe zieh ziehen scrolle scrollen wische wischen markiere schreibe schreib kopiere
        füge mache mach nimm kaufe bestelle bezahle installiere schalte warte entferne aktiviere deaktiviere trage
        fülle bitte doppelklick doppelklicke halte lade zeige
    """,
    "French": """
        clique cliquez cliquer cliquons appuie appuyez appuyer tapez ouvre ouvrez ouvrons ferme fermez supprime
        supprimez efface effacez sélectionne sélectionnez selectionnez choisis choisissez saisis saisissez écris
        écrivez envoie envoyez enregistre enregistrez glisse glissez fais faites allez touchez coche cochez décoche
        décochez remplis remplissez défile défilez achète achetez mets mettez désactive désactivez attends attendez
        veuillez svp
    """,
    "Spanish": """
        haz haga hagas clic pulsa pulsar presiona presione presionar toca tocar abre abra cierra cierre borra borre
        elimina elimine escribe escriba escoge selecciona seleccione elige elija envía envíe guarda guarde desliza
        apriete aprieta oprime oprima pincha pinche teclea teclee ingrese ingresa vaya desplázate arrastra arrastre
        marca copia pega inicia desactiva espera espere quita rellena ponga cliquea clica
    """,
    "Italian": """
        clicca cliccare clicchi fai premi premere prema apri chiudi elimina cancella scrivi seleziona scegli invia
        salva trascina scorri tocca digita metti aspetta attendi compra incolla attiva disattiva rimuovi inserisci
    """,
    "Portuguese": """
        vá aperta clicar toque feche apague exclua escreva digite selecione escolha envie arraste pressione pressionar
        aperte marque aguarde remova copie compre faça desligue preencha deslize
    """,
    "Dutch": """
        doe klik klikken dubbelklik druk drukken sluit verwijder kies typ verstuur stuur schrijf selecteer zet maak
        wacht koop tik tikken veeg vul scrol
    """,
    "Polish": """
        wejdź kliknij klikaj kliknąć klikać naciśnij naciskaj otwórz otwórzcie zamknij usuń wybierz wpisz przeciągnij
        przewiń wyślij zaznacz wciśnij dotknij idź uruchom skasuj poczekaj kup zapisz proszę stuknij
    """,
    "Czech and Slovak": """
        klikni klikněte kliknite kliknout stiskni stiskněte stlač stlačte otevři otevřete otvor otvorte zavři zavřete
        vyber vyberte smaž smažte napiš napište zvol přetáhni ťukni prosím klepni klepněte
    """,
    "Swedish": """
        klicka klickar tryck trycka öppna stäng välj radera skriv dra skicka dubbelklicka markera bocka skrolla vänta
    """,
    "Danish and Norwegian": """
        klikk klikke trykk tryk trykke åbn åpne luk lukk vælg velg slett slet dobbeltklik træk vennligst sveip
    """,
    "Finnish": """
        napsauta klikkaa paina avaa sulje valitse poista kirjoita vedä lähetä napauta odota kaksoisnapsauta
    """,
    "Hungarian": """
        kattints kattintson nyomd nyomja nyisd nyissa zárd válaszd válassza töröld törölje írd írja húzd koppints
        kérlek
    """,
    "Romanian": """
        apasă apasa apăsați deschide deschideți închide închideți șterge ștergeți selectează alege scrie trimite trage
    """,
    "Turkish": """
        bas tıkla tıklayın tıklayınız tıklama basın basma dokun dokunun aç açın açma kapatın sil silin silme seç seçin
        yaz yazın gönderin sürükle kaydır bekle lütfen tikla
    """,
    "Vietnamese": """
        nhấp nhấn bấm chọn xóa xoá gõ nhập kéo đừng
    """,
    "Indonesian and Malay": """
        tekan buka pilih ketik hapus tutup kirim seret geser jangan ketuk tolong
    """,
    "Croatian and Serbian": """
        pritisni pritisnite otvori otvorite zatvori izaberi odaberi obriši izbriši upiši molim
    """,
    "Baltic, Estonian, Catalan, Welsh, Swahili": """
        noklikšķini nospied spustelėk paspausk klõpsa vajuta cliciwch bofya sisipkan premeu feu
    """,
}
# Articles, prepositions and conjunctions that are no English words, in small letters.
_SMALL_WORDS = """
    der das dem ein eine einen einem einer auf und oder zum zur mit für nach bei ich alles dann vom beim aus vor ihr
    le les une dans puis sur avec cette ces votre vos au du je vous nous el los las una del su esto esta luego después
    sobre il gli sul sulla sulle nel nella della dello degli alla poi tutto tutti botão depois tudo uma ao à het een
    naar dan och på ett det alla menyn na przycisk wszystko się pak vše tlačítko üzerine düğmesine şeyi az gombra
    kaikki valikko pe și apoi
"""
# Gestures and orders in other scripts; the words need another word beside them.
_OTHER_SCRIPTS = re.compile(
    # Cyrillic
    r"(?<!\w)(?:на(?:ж(?:м|им|а)|тисн|тиска)\w*|кли[кц]\w*|щ[её]лкн\w*|тапн\w*|ткни\w*|жми\w*|клац\w*|двойной"
    r"|(?:открой|открывай|закрой|закрывай|выбери|выбирай|введи|вводи|напиши|печатай|удали|удаляй|отправь|отправляй"
    r"|прокрути|листай|перетащи|перейди|запусти|запускай|включи|выключи|сохрани|найди|купи|покупай|оплати|скачай|закажи"
    r"|поставь|убери|зайди|подожди|сотри|сделай|покажи|помоги|відкрий|закрий|вибери|обери|видали|введи|надішли|збережи"
    r"|отвори|затвори|изтрий|притисни|изабери|избери)(?:те)?|пожалуйста|будь\s+ласка|моля)(?!\w)"
    r"|^\w+[йиь]те\s"
    # Chinese
    r"|点击|點擊|点选|點選|点按|單擊|单击|双击|雙擊|按下|按一下|轻点|轻触|长按|拖动|拖到|拖拽|拖曳|滑动|滚动|勾选|右键"
    r"|^(?:请|請|帮我|幫我|把|将|給我|给我|我要|我想)|^按(?![钮鈕键鍵])|^点(?=[一下确取保删发登返关打设])"
    r"|^(?:打开|開啟|打開|关闭|關閉|关掉|选择|選擇|输入|輸入|删除|刪除|发送|發送|购买|購買|下载|下載|保存|儲存|启动|啟動|进入|進入"
    r"|清空|移动|复制)(?=\w)(?!\w{0,6}(?:按钮|按鈕|键|鍵|图标|圖示|链接|連結|菜单|選單|选项|選項|栏|框)$)"
    # Japanese
    r"|を|クリック|タップ|ダブルクリック|(?:して|押す|押して|ください|下さい|なさい|てくれ|せよ|しろ|開け|閉じて)$"
    # Korean
    r"|(?:[을를]\s)|(?:하세요|하십시오|해줘|해라|해\s?주세요|으세요|세요|십시오|눌러\w*|누르\w*|열어\w*|닫아\w*|지워\w*|보내\w*)$"
    r"|클릭|눌러|누르|탭\s?(?:하|해)"
    # Arabic, Persian, Urdu, Hebrew
    r"|(?<!\w)(?:انقر\w*|اضغط\w*|افتح\w*|احذف\w*|أغلق|اغلق|اختر|اكتب|أرسل|ارسل|انتقل|اسحب|مرر|كليك|کلیک|بزن\w*|کنید|کریں"
    r"|לחץ|לחצי|לחצו|הקלק|הקש|הקישו|פתח|פתחי|סגור|סגרי|בחר|בחרי|הקלד|גרור|גלול|תלחץ|תפתח|תמחק)(?!\w)"
    # Hindi, Bengali, Tamil, Thai
    r"|क्लिक|(?:करें|करो|कीजिए|दबाएं|दबाएँ|दबाओ|दबाइए|खोलें|खोलो|हटाएं|हटाएँ|हटाओ|मिटाओ|मिटाएं|चुनें|चुनो|भेजो|लिखो)(?:\s|$)"
    r"|ক্লিক|করুন|চাপুন|খুলুন|கிளிக்|அழுத்த|คลิก|แตะ|^กด\s?\w|^(?:เปิด|ปิด|ลบ|เลือก|พิมพ์|ส่ง)\w{2}"
    # Greek, Georgian, Armenian
    r"|(?<!\w)(?:κάνε|κάντε|κλικ|πάτα|πατή\w+|πάτη\w+|άνοιξε|ανοίξτε|κλείσε|κλείστε|διάλεξε|επίλεξε|επιλέξτε|γράψε|σβήσε"
    r"|διάγραψε|στείλε|დააჭირე\w*|გახსენი|სեղմիր|սեղմեք|բացիր)(?!\w)"
)
# Negations and conditions: "klicke nicht auf Löschen" names nothing to click. In small letters, because names hold such
# words too: "Open Sans".
_NEGATIONS = re.compile(
    r"(?<!\w)(?:nicht|niemals|keinesfalls|keine[nsmr]?|ohne|wenn|falls|sofern|außer|bevor|solange"  # German
    r"|ne\s+\w+\s+(?:pas|jamais|rien)|n'\w+\s+(?:pas|jamais)|jamais|sans|sauf|jusqu\w*|lorsque|quand"  # French
    r"|si\s+possible"
    r"|nunca|jamás|excepto|salvo|cuando|hasta|a\s+menos|mientras"  # Spanish
    r"|não|exceto|quando|enquanto|até"  # Portuguese
    r"|senza|tranne|finché"  # Italian
    r"|niet|geen|nooit|zonder|tenzij|indien|behalve"  # Dutch
    r"|inte|aldrig|utan|ikke|aldri|uden|uten|hvis|medmindre|älä|jos"  # Nordic
    r"|nigdy|jeśli|jeżeli|chyba|nikdy|pokud|když"  # Polish, Czech
    r"|не|никогда|нельзя|без|если|пока|кроме|якщо|ніколи"  # Russian, Ukrainian
    r"|nem|soha|tilos|hacsak|kivéve|nemoj(?:te)?|nikada?|ukoliko|osim|jangan|jika|kecuali|không|đừng|nếu|huwag|ära|ärge"
    r"|nu|μην|μη|δεν|αν|χωρίς|eğer|asla|değil|لا|إذا|بدون|אל|אם|אסור|मत|नहीं|यदि|अगर)(?!\w)"
    r"|不要|不能|不可|不得|别(?=[点按选删打关碰发])|请勿|勿|禁止|切勿|如果|除非|直到|的话|ないで|しない|するな|なければ|もし|지\s?마|않|만약|ไม่|อย่า"
)
# Those that mean something in English: they count only where no English verb stands.
_AMBIGUOUS_NEGATIONS = re.compile(
    r"(?<!\w)(?:pas|sin|non|mai|sem|caso|bez|nie\s+\w+|ne\s+\w+te"
    r"|no\s+(?:lo\s+|se\s+)?(?:hag|hac|puls|presion|toqu|toc|cliqu|borr|elimin|seleccion|abr|cierr|escrib|deb)\w*)(?!\w)"
)
_WORD = re.compile(r"[^\W\d_]+")
_VERB_SET = frozenset(word for words in _VERBS.values() for word in words.split())
_SMALL_SET = frozenset(_SMALL_WORDS.split())
# A phrase of several English words holds one of these.
_ENGLISH_WORDS = """
    the a an of in on at to from by with for under above below and my your that which as is left right next first last
    button link icon field box menu
"""
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
MAX_LABEL_WORDS = 4
"""A label of more words in other letters, or without one small English word, is taken for a sentence."""


def foreign_negation(mask: str) -> str:
    """Return a negation or a condition in another language that stands after an English verb; else nothing."""
    match = _NEGATIONS.search(mask)
    return match[0] if match else ""


def foreign_words(mask: str) -> str:
    """Return the words that make an instruction in another language of a phrase without an English verb; or nothing."""
    text = mask[:1].lower() + mask[1:]
    if match := _NEGATIONS.search(text) or _AMBIGUOUS_NEGATIONS.search(text):
        return match[0]
    match = _OTHER_SCRIPTS.search(text)
    if match and match[0] != text.strip():
        return match[0].strip()
    words = _WORD.findall(mask)
    if len(words) + ("\0" in mask) < 2:
        return ""
    for word in words:
        # A name may have such a word in capitals: "El Paso".
        if word in _SMALL_SET or word.lower() in _VERB_SET:
            return word
    return ""


def looks_foreign(mask: str) -> str:
    """Return the first words of a phrase that is too long for a label and holds no small English word; else nothing."""
    words = _WORD.findall(mask)
    is_english = "\0" in mask or any(word.lower() in _ENGLISH for word in words)
    return " ".join(words[:3]) if len(words) > MAX_LABEL_WORDS and not is_english else ""


def begins_foreign(mask: str) -> str:
    """Return the small word of another language that a target begins with: ``de`` of ``open de map``; else nothing."""
    word = _WORD.match(mask)
    return (
        word[0] if word and (word[0] in _SMALL_SET or word[0] in ("de", "den", "la")) and word.end() < len(mask) else ""
    )
