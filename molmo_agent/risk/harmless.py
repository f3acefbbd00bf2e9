"""Names of what only shows, moves or opens something, in twelve languages, and the words around names."""

import re

from molmo_agent.pointers.icons.vocabulary import meanings_of
from molmo_agent.risk.commit_words import COMMIT, risky_word
from molmo_agent.risk.folding import fold, words_of
from molmo_agent.risk.icon_meanings import ASKED_ICONS
from molmo_agent.risk.vocabulary import Vocabulary

HARMLESS = Vocabulary(
    {
        "en": """search find find_next find_previous lookup back forward next previous prev up_one_level go_back
            go_forward go_up home menu main_menu open open_file open_recent open_folder open_in_new_tab cancel no
            no_thanks not_now later maybe_later remind_me_later dismiss skip close settings preferences options more
            less read_more learn_more show_more load_more see_more view_more show_less see_all view_all show_all
            show_details show hide view details properties info about help tips tutorial tour expand expand_all
            collapse collapse_all zoom zoom_in zoom_out actual_size fit full_screen fullscreen minimize maximize
            play pause stop mute unmute volume rewind fast_forward replay refresh reload undo redo copy cut paste
            select_all select none all new new_tab new_window new_folder new_file new_document compose edit save
            save_as browse sort sort_by filter filters clear_search clear_filter clear_filters today yesterday
            tomorrow day week month year date time list grid map scroll page tab window file insert tools
            format_menu bookmarks bookmark history downloads documents pictures music videos desktop inbox drafts
            sent trash_folder spam archive folders favorites favourites contacts calendar photos gallery camera
            clock weather news maps notes messages chats calls phone email mail profile account accounts library
            explore discover notifications sidebar toolbar status_bar sound display network general advanced
            appearance print_preview go_to go_to_line first last left right up down top bottom restore_window got_it
            keep_editing sign_in_page home_page table_of_contents contents index article articles photo image video
            thumbnail picture folder row column cell result results entry heading title paragraph checkbox radio
            slider scrollbar dropdown combo_box arrow hamburger magnifier gear cog bell star heart chevron caret
            dots ellipsis avatar logo cart basket expand_arrow calculator terminal_tab toggle_sidebar dark_mode
            theme language translate version name names sender senders subject author user username address bold
            italic underline align_left align_center align_right""",
        "en, pages and fields": """about_us contact contact_us careers jobs_board imprint sitemap faq
            frequently_asked_questions documentation docs guide guides manual terms_of_use terms_of_service terms
            privacy_policy privacy cookie_policy overview summary introduction reviews questions answers comments
            comment recipes sport sports science health business culture travel technology politics opinion world
            trending popular recent recent_documents recent_files recently recently_deleted deleted_items featured
            categories category tags topics topic wi fi wifi bluetooth battery storage keyboard mouse wallpaper
            accessibility security location sounds vibration apps applications system updates printers shortcuts
            keyboard_shortcuts appearance performance themes fonts font size color colour city country street
            zip_code postcode phone_number amount quantity message password first_name last_name from subject
            company website url age gender birthday word_wrap wrap_around word_count line_numbers
            show_hidden_files hidden_files match_case regular_expression regular_expressions whole_words
            remember_me keep_me_signed_in spell_check page_setup print_layout ruler gridlines snap_to_grid
            add_to_cart add_to_basket add_to_bag add_to_wishlist add_to_wish_list add_to_favorites add_to_favourites
            add_to_playlist add_to_library add_to_bookmarks add_bookmark save_for_later save_and_continue
            save_and_continue_editing save_and_add_another continue_editing continue_reading continue_shopping
            zoom_level reading_list reading_mode reader_view library playlists albums artists songs podcasts
            radio_stations subscriptions_list following followers explore discover watch_later order_history
            your_orders timetable schedule opening_hours departures arrivals untitled sheet document documents
            folder spreadsheet presentation monday tuesday wednesday thursday friday saturday sunday january
            february march april june july august september october november december""",
        "en, pages of settings": """editor symbols statistics speed encoding interface behavior behaviour plugins
            extensions add_ons addons sessions session proxy peers trackers startup indentation highlighting templates
            colors colours palette units precision scientific programmer basic standard layout layouts gallery status
            activity queue metadata columns rows labels thumbnails fonts_and_colors text_editor file_browser
            bookmarks_bar constants functions memory_usage processes resources file_systems""",
        "en, toolkits: stock labels of GTK and Qt, freedesktop's names, editing commands": """accessories development
            education games graphics internet multimedia office utilities portrait landscape reverse_portrait
            reverse_landscape page_break indent unindent outdent increase_indent decrease_indent increase_indentation
            decrease_indentation justify justify_left justify_right justify_center justify_full justify_fill align
            align_center center strikethrough strike_through superscript subscript heading headings quote blockquote
            block_quote code_block inline_code source_code numbered_list bulleted_list bullet_list bullets
            ordered_list unordered_list horizontal_line horizontal_rule line_break line_spacing line_height
            special_characters special_character character text_color background_color highlight_color background
            foreground text_direction left_to_right right_to_left paragraph formatting style styles symbol flip
            flip_horizontal flip_vertical flip_horizontally flip_vertically rotate rotate_left rotate_right
            rotate_clockwise rotate_counterclockwise clockwise counterclockwise crop mirror ascending descending
            sort_ascending sort_descending invert_selection deselect deselect_all unselect unselect_all jump_to
            page_up page_down first_page last_page next_page previous_page parent_folder normal_size best_fit fit_page
            fit_width page_width whole_page single_page dual_page facing_pages continuous float undock increment
            decrement increase decrease step_up step_down plus minus plus_sign minus_sign hard_disk harddisk cd_rom
            floppy computer side_pane side_panel panel pane panels panes split split_view split_horizontally
            split_vertically bar icons compact tree older newer oldest newest latest earlier case_sensitive
            match_whole_word match_whole_words whole_word ignore_case wrap highlight highlight_all backward backwards
            forwards regex regexp clipboard path create_folder create_new_folder create_file create_document
            new_tab_group new_note new_contact new_event new_appointment =add add_files add_file add_folder add_tab
            add_page add_row add_column add_filter add_layer mark_as_read mark_as_unread restore_down tile cascade
            rename whats_this whats_new tip_of_the_day readonly read_only""",
        "de": """suche suchen finden weitersuchen zurück vor vorwärts weiter nächste nächster nächstes vorherige
            voriger startseite menü datei bearbeiten ansicht hilfe extras fenster einfügen öffnen abbrechen nein
            später nicht_jetzt schließen einstellungen optionen mehr weniger mehr_anzeigen mehr_erfahren weiterlesen
            anzeigen ausblenden details eigenschaften info über erweitern reduzieren aufklappen zuklappen vergrößern
            verkleinern zoom vollbild wiedergabe abspielen pause anhalten stumm aktualisieren neu_laden rückgängig
            wiederholen kopieren ausschneiden alles_auswählen neu neuer_tab neues_fenster speichern durchsuchen
            sortieren filtern filter heute lesezeichen verlauf posteingang ordner bilder musik kalender kontakte
            profil allgemein erweitert""",
        "fr": """recherche rechercher chercher trouver retour précédent précédente suivant suivante accueil menu
            fichier édition affichage aide outils fenêtre insertion ouvrir annuler non plus_tard pas_maintenant
            fermer paramètres réglages préférences options plus moins voir_plus en_savoir_plus lire_la_suite
            afficher masquer détails propriétés à_propos développer réduire agrandir zoom plein_écran lecture lire
            pause arrêter muet actualiser rafraîchir recharger rétablir copier couper coller tout_sélectionner
            nouveau nouvelle nouvel_onglet nouvelle_fenêtre enregistrer parcourir trier filtrer filtres aujourdhui
            signets historique dossiers images musique calendrier contacts profil""",
        "es": """buscar búsqueda encontrar atrás volver adelante siguiente anterior inicio menú archivo edición ver
            ayuda herramientas ventana insertar abrir cancelar no ahora_no más_tarde cerrar ajustes configuración
            preferencias opciones más menos ver_más ver_todo leer_más mostrar ocultar detalles propiedades acerca_de
            expandir contraer ampliar reducir zoom pantalla_completa reproducir pausa pausar detener silenciar
            actualizar recargar deshacer rehacer copiar cortar pegar seleccionar_todo nuevo nueva nueva_pestaña
            nueva_ventana guardar examinar ordenar filtrar filtros hoy marcadores historial carpetas imágenes música
            calendario contactos perfil""",
        "it": """cerca ricerca trova indietro avanti successivo successiva precedente home menu file modifica
            visualizza aiuto guida strumenti finestra inserisci apri annulla no non_ora più_tardi chiudi
            impostazioni preferenze opzioni più meno altro mostra_altro leggi_tutto scopri_di_più mostra nascondi
            dettagli proprietà informazioni espandi comprimi ingrandisci riduci zoom schermo_intero riproduci pausa
            ferma muto aggiorna ricarica ripeti copia taglia incolla seleziona_tutto nuovo nuova nuova_scheda salva
            sfoglia ordina_per filtra filtri oggi segnalibri cronologia cartelle immagini musica calendario contatti
            profilo""",
        "pt": """pesquisar pesquisa procurar buscar localizar voltar avançar próximo próxima seguinte anterior
            início menu arquivo ficheiro editar exibir ver ajuda ferramentas janela inserir abrir cancelar não
            agora_não mais_tarde fechar configurações definições preferências opções mais menos ver_mais ver_tudo
            leia_mais saiba_mais mostrar ocultar detalhes propriedades sobre expandir recolher ampliar reduzir zoom
            tela_cheia reproduzir pausar pausa parar mudo atualizar recarregar desfazer refazer copiar cortar
            recortar colar selecionar_tudo novo nova nova_aba salvar guardar classificar filtrar filtros hoje
            favoritos histórico pastas imagens música calendário contatos perfil""",
        "nl": """zoeken zoek vind terug vorige volgende verder start menu bestand bewerken beeld weergave help
            extra venster invoegen openen annuleren nee niet_nu later sluiten instellingen voorkeuren opties meer
            minder meer_weergeven lees_meer meer_informatie tonen weergeven verbergen details eigenschappen over
            uitvouwen samenvouwen inzoomen uitzoomen zoom volledig_scherm afspelen pauze pauzeren stoppen dempen
            vernieuwen ongedaan_maken opnieuw kopiëren knippen plakken alles_selecteren nieuw nieuw_tabblad opslaan
            bladeren sorteren filteren vandaag bladwijzers geschiedenis mappen afbeeldingen muziek agenda contacten
            profiel""",
        "pl": """szukaj wyszukaj znajdź wstecz wróć dalej następny następna następne poprzedni poprzednia start
            menu plik edycja widok pomoc narzędzia okno wstaw otwórz anuluj nie nie_teraz później zamknij ustawienia
            preferencje opcje więcej mniej pokaż pokaż_więcej czytaj_więcej ukryj szczegóły właściwości o_programie
            rozwiń zwiń powiększ pomniejsz pełny_ekran odtwórz pauza zatrzymaj wycisz odśwież cofnij ponów kopiuj
            wytnij wklej zaznacz_wszystko nowy nowa nowa_karta zapisz przeglądaj sortuj filtruj filtry dziś zakładki
            historia foldery obrazy muzyka kalendarz kontakty profil""",
        "ru": """поиск искать найти назад вперед далее следующая следующий следующее предыдущая предыдущий домой
            главная меню файл правка вид справка помощь инструменты сервис окно вставка открыть отмена отменить нет
            не_сейчас позже закрыть настройки параметры еще больше меньше показать показать_еще подробнее
            читать_далее скрыть свойства о_программе развернуть свернуть увеличить уменьшить масштаб полный_экран
            воспроизвести пауза стоп обновить повторить копировать вырезать вставить выделить_все создать
            новая_вкладка новое_окно сохранить обзор сортировка фильтр сегодня закладки история папки изображения
            музыка календарь контакты профиль""",
        "tr": """ara arama bul geri ileri sonraki önceki ana_sayfa menü dosya düzen düzenle görünüm yardım araçlar
            pencere ekle aç iptal vazgeç hayır şimdi_değil daha_sonra kapat ayarlar tercihler seçenekler daha_fazla
            daha_az göster gizle ayrıntılar özellikler hakkında genişlet daralt yakınlaştır uzaklaştır tam_ekran
            oynat duraklat durdur yenile geri_al yinele kopyala kes yapıştır tümünü_seç yeni yeni_sekme kaydet gözat
            sırala filtre bugün yer_imleri geçmiş klasörler resimler müzik takvim kişiler profil""",
        "sv": """sök hitta tillbaka framåt nästa föregående hem meny arkiv redigera visa hjälp verktyg fönster
            infoga öppna avbryt nej inte_nu senare stäng inställningar alternativ mer mindre visa_mer läs_mer dölj
            detaljer egenskaper om expandera fäll_ihop zooma_in zooma_ut helskärm spela spela_upp pausa paus stoppa
            ljud_av uppdatera ångra gör_om kopiera klipp_ut klistra_in markera_allt ny nytt ny_flik spara bläddra
            sortera filter idag bokmärken historik mappar bilder musik kalender kontakter profil""",
        "zh": """搜索 搜尋 查找 查询 返回 后退 前进 下一页 下一步 下一个 上一页 上一步 上一个 首页 主页 菜单 文件
            编辑 视图 查看 帮助 工具 窗口 插入 打开 取消 否 以后 稍后 关闭 设置 選項 选项 更多 显示 隐藏 详情 属性
            关于 展开 折叠 放大 缩小 全屏 播放 暂停 停止 静音 刷新 撤销 重做 复制 剪切 粘贴 全选 新建 保存 浏览 排序
            筛选 今天 书签 历史 图片 音乐 日历 联系人 新闻""",
        "ja": """検索 探す 戻る 進む 次へ 次の 次 前へ 前の ホーム メニュー ファイル 編集 表示 ヘルプ ツール
            ウィンドウ 挿入 開く キャンセル いいえ 後で 閉じる 設定 オプション もっと見る 続きを読む さらに 詳細
            隠す プロパティ 展開 折りたたむ 拡大 縮小 全画面 再生 一時停止 停止 ミュート 更新 元に戻す やり直し
            コピー 切り取り 貼り付け すべて選択 新規 保存 参照 並べ替え フィルター 今日 ブックマーク 履歴 画像 音楽
            カレンダー 連絡先 ニュース""",
        "ko": """검색 찾기 뒤로 앞으로 다음 이전 홈 메뉴 파일 편집 보기 도움말 도구 창 삽입 열기 취소 아니요 나중에
            닫기 설정 옵션 더보기 더_보기 자세히 숨기기 속성 정보 펼치기 접기 확대 축소 전체_화면 재생 일시정지 중지
            음소거 새로고침 실행_취소 복사 잘라내기 붙여넣기 모두_선택 저장 찾아보기 정렬 필터 오늘 북마크 사진 음악
            캘린더 연락처 뉴스""",
        "ar": """بحث البحث عوده عودة رجوع التالي السابق الرئيسيه الرئيسية القائمه القائمة ملف تحرير عرض مساعده
            مساعدة ادوات أدوات نافذه نافذة ادراج إدراج فتح الغاء إلغاء لا ليس_الان لاحقا اغلاق إغلاق الاعدادات
            الإعدادات خيارات المزيد اقل اظهار إظهار اخفاء إخفاء تفاصيل خصائص حول توسيع طي تكبير تصغير تشغيل
            ايقاف_مؤقت إيقاف_مؤقت تحديث تراجع اعاده إعادة نسخ قص لصق جديد حفظ تصفح ترتيب تصفيه تصفية اليوم السجل
            الصور""",
    }
)
# What is done to whatever follows only shows, moves or formats it. In some languages this word comes last.
_FIRST_WORDS = Vocabulary(
    {
        "en": """show hide view preview copy find search expand collapse highlight sort filter browse go_to
            align justify insert rotate flip indent auto_scroll colorize""",
        "fr": "afficher masquer copier rechercher trier filtrer parcourir agrandir insérer aligner aller_à",
        "es": "mostrar ocultar ver copiar buscar ordenar filtrar examinar ampliar insertar alinear ir_a",
        "it": "mostra nascondi visualizza copia cerca trova ordina_per filtra sfoglia ingrandisci inserisci allinea",
        "pt": "mostrar exibir ocultar ver copiar procurar localizar ordenar filtrar ampliar inserir alinhar ir_para",
        "pl": "pokaż ukryj kopiuj znajdź szukaj sortuj filtruj przeglądaj wstaw",
        "ru": "показать скрыть копировать найти сортировать вставить",
    }
)
_LAST_WORDS = Vocabulary(
    {
        "de": "anzeigen einblenden ausblenden kopieren suchen sortieren filtern einfügen vergrößern",
        "nl": "tonen weergeven verbergen kopiëren zoeken sorteren filteren invoegen",
        "tr": "göster gizle kopyala bul sırala filtrele",
    }
)
# Names are hardly longer.
_NAME_WORDS = 5
# Of the meanings of a name, those that count.
_LEAST_WEIGHT = 0.6
# Harmless or not by what the dialog around them says: they agree to it.
AGREE = Vocabulary(
    {
        "all": """retry try_again ok okay continue done apply finish start go proceed resume i_understand fertig
            übernehmen fortfahren starten continuer terminer appliquer démarrer continuar aplicar listo empezar fine
            continua applica avvia concluir iniciar gereed doorgaan toepassen klaar gotowe kontynuuj zastosuj готово
            продолжить применить ок tamam devam uygula başlat klar fortsätt använd verkställ 好 好的 确定 確定 继续
            完成 应用 开始 はい 了解 続行 続ける 完了 適用 開始 확인 계속 완료 적용 시작 متابعه متابعة تم تطبيق حسنا
            yes ja oui sí si sim tak да evet 是 예 네 نعم""",
    }
)
# Buttons that agree to nothing, whatever the dialog around them says: they only show more.
LOOKS = Vocabulary(
    {
        "all": """credits license licence authors translators artists documented_by help details show_details
            more_details more_info more_information learn_more read_more about browse preview hilfe details_anzeigen
            mehr_erfahren aide détails en_savoir_plus ayuda detalles más_información aiuto dettagli ajuda detalhes
            saiba_mais details_weergeven pomoc szczegóły справка подробнее yardım ayrıntılar hjälp detaljer 帮助 详情
            ヘルプ 詳細 도움말 자세히 مساعدة""",
    }
)
YES = frozenset(fold("yes y ja j oui o sí si s sim tak t да д evet e 是 はい 예 네 نعم").split())
CANCEL = Vocabulary(
    {
        "all": """cancel abbrechen stornieren annuler cancelar annulla annuleren anuluj отмена отменить iptal
            avbryt 取消 キャンセル 취소 الغاء إلغاء back close schließen fermer cerrar chiudi sluiten zamknij
            закрыть kapat stäng 关闭 閉じる 닫기 later not_now no nein non não nee nie нет hayır nej 否 いいえ
            아니요 لا keep_it skip dismiss""",
    }
)
NO = Vocabulary({"all": "no nein non não nee nie нет hayır nej 否 いいえ 아니요 لا"})
SAVE_OR_KEEP = Vocabulary(
    {
        "all": """save saving saved keep speicher* behalten enregistrer conserver sauvegarder guardar conservar
            salva* mantener salvar manter opslaan bewaren zapisa* zachowa* сохран* kaydet* sakla spara behåll 保存
            保留 저장 حفظ""",
    }
)
# What a dialog says when to agree to it is more than to close it.
CONSENT = Vocabulary(
    {
        "all": """charge* billed billing payment costs price fee terms conditions license licence privacy
            permission permissions access warning irreversible undone lose lost loss overwritten deleted removed
            erased sure cannot trust allow kosten preis bedingungen lizenz verloren gelöscht warnung sicher prix
            perdu perdues sûr facturé precio condiciones licencia seguro perderá perderán prezzo condizioni licenza
            sicuro preço condições licença certeza voorwaarden licentie zeker cena warunki licencja pewno цена
            условия лицензия уверены потеряны fiyat koşullar lisans emin pris villkor licens säker 费用 条款 条件
            许可 警告 丢失 料金 規約 失われ 비용 약관 경고""",
    }
)
# Folders into which something is thrown, and things that look like them.
TRASH = Vocabulary(
    {
        "all": """trash trashcan bin recycle recycling garbage rubbish wastebasket dustbin papierkorb mülleimer
            corbeille poubelle papelera basura cestino lixeira lixo reciclagem prullenbak prullenmand kosz корзина
            корзину çöp çöp_kutusu papperskorg* papirkurv* papperskorgen roskakori koš lomtár 回收站 废纸篓 垃圾桶
            資源回收筒 ゴミ箱 ごみ箱 휴지통 سله_المحذوفات سلة_المحذوفات المهملات""",
    }
)
# Icons without words that are known by what they look like.
ICONS_THAT_COMMIT = Vocabulary(
    {"en": "paper_plane paperplane power skull thumbs_up thumbs_down send_arrow red_x shopping_bag"}
)
MENU_TITLES = frozenset(
    words_of(
        """file edit view help tools window insert datei bearbeiten ansicht hilfe extras fichier édition edition
    affichage aide outils archivo edición ver ayuda herramientas modifica visualizza strumenti aiuto arquivo
    editar exibir ajuda ferramentas bestand bewerken beeld plik edycja widok pomoc файл правка вид справка dosya
    düzen görünüm yardım arkiv redigera visa hjälp 文件 编辑 视图 查看 帮助 ファイル 編集 表示 ヘルプ 파일 편집
    보기 도움말 ملف تحرير عرض مساعدة"""
    )
)
_FILLER = frozenset(
    words_of(
        "the a an of in on at to for with from by and my your its this that these those one it click press tap "
        "hit choose touch double right left middle please button icon link label item field box option symbol control "
        "widget task bar entry radio drop combo tick check "
        "first second third fourth fifth last next to small large big blue grey gray white black round"
    )
)


_PROGRAMS = frozenset(
    words_of(
        "exe bat cmd com msi ps1 vbs js jar sh bash run bin command app dmg pkg deb rpm appimage desktop lnk scr reg "
        "apk py"
    )
)


_DOCUMENTS = frozenset(
    words_of(
        "pdf doc docx odt rtf txt md xls xlsx ods csv ppt pptx odp epub jpg jpeg png gif svg webp heic bmp tif tiff "
        "mp3 wav flac ogg m4a mp4 mov mkv avi webm "
        "json xml yaml html htm log ics eml"
    )
)


def is_harmless(name: str) -> bool:
    """Return whether a name is made of words that only show, move or open something, a sign or a number."""
    folded = fold(name)
    if folded.rpartition(".")[2] in _DOCUMENTS and not folded.startswith("."):
        return True
    if len(folded) == 1 or (folded and not any(letter.isalpha() for letter in folded)):
        return True
    return HARMLESS.covers(name, _FILLER) or HARMLESS.covers(_as_meant(folded), _FILLER) or _only_shows(name)


def is_harmless_icon(name: str) -> bool:
    """Return whether all icons that a name may mean only show, move, open or format something."""
    # Weak meanings are those of a part of the name.
    meanings = [meaning for meaning, weight in meanings_of(name).items() if weight >= _LEAST_WEIGHT]
    return bool(meanings) and ASKED_ICONS.issuperset(meanings)


def _as_meant(folded: str) -> str:
    """Return a folded text with the listed words that its unknown words are forms of, or were misread from."""
    words = words_of(folded)
    known = HARMLESS.places(words)
    meant = [
        word if place in known or word in _FILLER or COMMIT.has_near(word) else HARMLESS.meant(word) or word
        for place, word in enumerate(words)
    ]
    return " ".join(meant)


def _only_shows(name: str) -> bool:
    """Return whether a name says to show, copy, move or format something, and no more."""
    words = words_of(fold(name))
    if (
        sum(word not in _FILLER for word in words) > _NAME_WORDS
        or re.search(r"[?!&]|\band\b", fold(name))
        or risky_word(name)
        or CONSENT.find(name)
    ):
        return False
    return 0 in _FIRST_WORDS.places(words) or len(words) - 1 in _LAST_WORDS.places(words)


def is_program(name: str) -> bool:
    """Return whether the name of a file ends as those of programs do, which a double click runs."""
    return fold(name).rpartition(".")[2] in _PROGRAMS and "." in name
