"""Names of actions that delete, send, pay, publish, grant or end something, in 30 languages."""

from molmo_agent.risk.vocabulary import Vocabulary

COMMIT = Vocabulary(
    {
        "en": """delet* remov* eras* discard* overwrit* wipe wipes wiping destroy* purge purging shred* obliterat*
            uninstall* unlink install installs installing reinstall send sends sending resend submit* publish
            publishes publishing =post =share share_my share_screen share_location pay pays paying pay_now
            payment_now make_payment prepay repay buy buys buying purchase purchasing checkout check_out place_order
            place_bid order_now order_this reorder preorder =order donate donating transfer transfers transferring
            withdraw withdrawing deposit subscribe unsubscribe* sign_out sign_off log_out log_off logout signout
            shut_down shutdown shutting_down restart restarts restarting reboot* power_off turn_off switch_off
            hibernate suspend quit exit close_all close_account close_my_account close_window close_all_tabs
            close_tab close_tabs without_saving dont_save do_not_save dont_keep end_task end_process end_call
            hang_up force_stop force_quit force_push force_close terminate terminates kill kills =format format_disk
            format_drive format_partition format_the format_this format_and repartition =flash accept accepts
            accepting agree agrees consent allow allows grant grants granting authorize* authorise* approve approves
            approving confirm confirms confirming =permit =trust revoke revokes reset resets resetting =clear
            clear_all clear_history clear_recent clear_data clear_cache clear_browsing clear_storage
            clear_everything deploy deploys redeploy =merge merge_branch merge_pull merge_and merge_request rebase
            =push =block block_user block_sender block_this =ban =kick ban_user report_spam leave_group
            leave_team leave_server leave_chat leave_meeting leave_channel unfriend unfollow empty_trash empty_bin
            empty_the empty_recycle empty_folder empty_cart empty_wastebasket empty_junk empty_spam move_to_trash
            move_to_bin move_to_the move_to_recycle move_to_wastebasket send_to_trash throw_away cancel_subscription
            cancel_order cancel_my cancel_plan cancel_booking cancel_reservation cancel_membership cancel_account
            cancel_appointment cancel_meeting cancel_flight cancel_trip cancel_payment cancel_ticket cancel_policy
            cancel_service end_subscription end_membership =replace replace_all =restore restore_default*
            restore_factory revert roll_back rollback book_now reserve rent_now bid =vote =sell =trade =run
            run_anyway run_as =execute execute =call dial deactivate* forever permanently irreversibl*
            cannot_be_undone cant_be_undone format_all drop_table drop_database start_trial start_free_trial
            apply_now sign_contract sign_document =sign =upgrade upgrade_now update_now =unlock unpublish retweet
            =print =eject unmount unpair forget_network forget_device forget_this ship_it go_live take_offline
            hand_over open_anyway keep_anyway download_anyway continue_anyway proceed_anyway ignore_warning recall
            wire_money""",
        "de": """lösch* gelöscht entfern* verwerfen überschreib* leeren vernichte* deinstallier* installier* senden
            sende sendet absenden abschicken schicken versenden verschicken veröffentlich* teilen =posten zahl*
            bezahl* kostenpflichtig* zahlungspflichtig* kauf kaufen jetzt_kaufen bestell* spende* überweis*
            abonnier* abmeld* ausloggen abbestell* kündig* herunterfahr* neu_starten neustart* ausschalten beenden
            nicht_speichern akzeptier* annehmen zustimm* einverstanden erlauben gestatten genehmig* bestätig*
            zulassen zurücksetz* formatier* blockier* sperren zusammenführen freigeben werkseinstellung*
            werkszustand* auftrag_erteilen buchen ersetzen in_den_papierkorb papierkorb_leeren auflegen verlassen""",
        "fr": """supprim* efface* enleve* retirer vider jeter ecraser detruire desinstall* installer
            installation_maintenant envoy* publier partager payer paiement_maintenant regler achet* commander
            valider valider_la_commande faire_un_don virer transferer sabonner se_desabonner desabonner* resilier
            deconnecter se_deconnecter deconnexion eteindre redemarrer quitter accepter jaccepte autoriser confirmer
            approuver consentir reinitialiser formater bloquer fusionner ne_pas_enregistrer remplacer abandonner_les
            reserver soumettre raccrocher fermer_mon_compte fermer_le_compte""",
        "es": """elimin* borra* quitar suprimir vaciar descartar sobrescribir destruir desinstalar instalar enviar
            envia publicar compartir pagar paga comprar compra_ahora comprar_ahora realizar_pedido hacer_pedido
            tramitar_pedido pedir donar transferir suscribir* cancelar_suscripcion darse_de_baja darme_de_baja
            cerrar_sesion cerrar_cuenta apagar reiniciar salir aceptar acepto permitir autorizar confirmar aprobar
            restablecer formatear bloquear fusionar no_guardar reemplazar reservar finalizar_compra desactivar
            colgar""",
        "it": """elimin* cancella cancella_tutto cancellare rimuov* svuota* scarta sovrascriv* distruggi
            disinstalla* installa installare invia inviare spedisci pubblica pubblicare condividi paga pagare
            acquista acquistare compra comprare ordina ordinare dona trasferisci iscriviti disiscriviti disdici esci
            disconnetti spegni riavvia accetta accetto consenti autorizza conferma confermare approva ripristina
            formatta blocca unisci non_salvare sostituisci prenota chiudi_account""",
        "pt": """exclui* apagar apaga elimin* remover remova esvaziar descartar sobrescrever substituir destruir
            desinstalar instalar enviar envie publicar compartilhar partilhar pagar pague comprar compre
            finalizar_compra fazer_pedido encomendar doar transferir assinar cancelar_assinatura cancelar_subscricao
            terminar_sessao encerrar sair desligar reiniciar aceitar aceito concordo permitir autorizar confirmar
            aprovar redefinir formatar bloquear mesclar nao_salvar nao_guardar reservar encerrar_conta""",
        "nl": """verwijder* wissen wis leegmaken prullenbak_legen weggooien overschrijven vernietigen deïnstalleren
            installeren verzend* verstuur* versturen publiceren delen betaal* betalen kopen koop koop_nu bestellen
            bestel doneren overmaken overboeken abonneren afmelden uitloggen opzeggen afsluiten uitschakelen
            herstarten accepteren accepteer akkoord toestaan goedkeuren bevestig* autoriseren resetten terugzetten
            formatteren blokkeren samenvoegen niet_opslaan niet_bewaren vervangen reserveren boeken indienen""",
        "pl": """usun* skasuj* kasuj oproznij wyczysc odrzuc nadpisz zniszcz odinstaluj* zainstaluj instaluj wyslij
            wysylaj opublikuj* udostepnij zaplac* kup kup_teraz kupuje zamow* zamawiam przekaz przelej subskrybuj
            anuluj_subskrypcje wypisz wyloguj* zamknij_konto wylacz uruchom_ponownie zakoncz akceptuj* zaakceptuj
            zgadzam* zezwol zezwalam zatwierdz* potwierdz* autoryzuj zresetuj resetuj sformatuj formatuj zablokuj
            scal nie_zapisuj zastap zarezerwuj""",
        "ru": """удал* стереть сотри* очистить уничтож* отбросить перезапис* установить деинсталл* отправ* послать
            опубликов* публиковать поделиться оплат* заплатить купить покуп* заказать оформить_заказ пожертвовать
            перевести перечислить подписаться отписаться выйти выход завершить выключить перезагруз* закрыть_аккаунт
            принять принимаю согласен согласиться соглашаюсь разрешить подтверд* одобрить авторизовать сбросить
            форматировать отформатировать заблокировать объединить слить не_сохранять заменить забронировать""",
        "uk": """видал* стерти очистити надісл* відправ* опублік* сплат* оплат* купит* замовит* вийти встановити
            прийняти погоджу* дозвол* підтвердит* скинути вимкнути""",
        "tr": """sil silin siliyor kaldır kaldir boşalt temizle üzerine_yaz yok_et kur yükle_ve kaldırın gönder
            gonder yayınla paylaş öde ode ödeme_yap satın_al satin_al sipariş_ver bağış havale aktar abone_ol
            abonelikten_çık oturumu_kapat çıkış cikis çıkış_yap kapat_ve yeniden_başlat kabul_et kabul_ediyorum
            izin_ver onayla onaylıyorum sıfırla biçimlendir engelle birleştir kaydetme değiştir_tümü rezervasyon""",
        "zh": """删除 刪除 移除 清空 清除 抹掉 擦除 销毁 覆盖 覆蓋 丢弃 卸载 解除安裝 安装 安裝 发送 發送 传送 发布
            發佈 發布 分享 支付 付款 购买 購買 下单 下單 结算 結帳 订购 捐款 捐赠 转账 轉帳 订阅 退订 取消订阅 退出
            注销 登出 关机 關機 重启 重新啟動 接受 同意 允许 允許 授权 授權 确认 批准 重置 格式化 屏蔽 封鎖 拉黑
            合并 部署 提交 不保存 替换 取代 预订 挂断 永久""",
        "ja": """削除 消去 抹消 空にする 破棄 上書き アンインストール インストール 送信 送る 投稿 公開 共有 支払
            支払い 購入 買う 注文 決済 寄付 振込 送金 購読 登録解除 退会 解約 ログアウト サインアウト シャットダウン
            再起動 電源 終了 同意 許可 承認 確認する 確定 承諾 受け入れ リセット 初期化 フォーマット ブロック マージ
            デプロイ 提出 保存しない 置換 予約 申し込""",
        "ko": """삭제 제거 지우기 비우기 버리기 덮어쓰기 파기 설치 보내기 전송 발송 게시 공유 결제 지불 구매 구입
            주문 기부 이체 송금 구독 탈퇴 해지 로그아웃 종료 재시작 다시_시작 수락 동의 허용 승인 초기화 재설정 포맷
            차단 병합 배포 제출 저장_안_함 저장하지 바꾸기 예약""",
        "ar": """حذف احذف امسح مسح ازاله إزالة تفريغ افراغ تجاهل_التغييرات استبدال تدمير تثبيت الغاء_التثبيت
            إلغاء_التثبيت ارسال إرسال ارسل نشر مشاركه مشاركة دفع ادفع الدفع شراء اشتر اشتري اطلب طلب_الان تبرع تحويل
            اشتراك الغاء_الاشتراك إلغاء_الاشتراك تسجيل_الخروج خروج ايقاف_التشغيل إيقاف_التشغيل اعاده_التشغيل
            إعادة_التشغيل قبول اقبل موافق موافقه اوافق أوافق سماح السماح تفويض تاكيد تأكيد اعتماد اعاده_الضبط
            إعادة_الضبط تهيئه تهيئة حظر دمج عدم_الحفظ حجز""",
        "he": "מחק מחיקה הסר שלח שליחה פרסם שלם תשלום קנה רכוש הזמן התנתק אשר אישור קבל אפשר התקן אפס",
        "fa": "حذف ارسال پرداخت خرید سفارش خروج تایید تأیید پذیرش نصب پاک انتشار",
        "sv": """ta_bort radera* rensa tom_papperskorgen töm släng skriv_över förstör avinstallera* installera*
            skicka* sänd publicera* dela betala* köp köpa beställ* donera överför* prenumerera säg_upp logga_ut
            avsluta stäng_av starta_om acceptera* godkänn* jag_godkänner tillåt bekräfta* återställ formatera*
            blockera* slå_ihop spara_inte ersätt boka""",
        "da": """slet slette fjern fjerne tøm overskriv afinstaller* installere udgiv offentliggør del_nu betal*
            køb bestil* donér overfør* abonner afmeld log_ud sluk genstart acceptér accepter* godkend* tillad
            bekræft* nulstil formater* bloker* gem_ikke""",
        "nb": """slett slette fjern tøm avinstaller* installere publiser* betal* kjøp bestill* overfør* logg_ut
            slå_av start_på_nytt godta godkjenn* tillat bekreft* tilbakestill ikke_lagre""",
        "fi": """poista* tyhjennä hylkää korvaa lähetä* julkaise* jaa maksa* osta tilaa lahjoita siirrä
            kirjaudu_ulos sammuta käynnistä_uudelleen hyväksy* salli vahvista* nollaa alusta estä asenna*
            älä_tallenna""",
        "cs": """smazat odstranit vymazat vysypat zahodit přepsat odinstalovat nainstalovat odeslat poslat
            publikovat zveřejnit sdílet zaplatit koupit objednat darovat převést odhlásit ukončit vypnout
            restartovat přijmout souhlasím povolit potvrdit schválit obnovit_tovární formátovat blokovat sloučit
            neukládat nahradit""",
        "sk": "zmazať odstrániť vymazať odoslať zaplatiť kúpiť objednať odhlásiť potvrdiť súhlasím povoliť prijať",
        "hu": """törlés töröl* törlése eltávolít* kiürít* elvet* felülír* telepít* küldés küld elküld* közzétesz*
            közzététel megoszt* fizet* fizetés vásárl* megvesz* megrendel* rendelés kijelentkez* leállít* újraindít*
            elfogad* engedélyez* megerősít* jóváhagy* visszaállít* formáz* letilt*""",
        "ro": """șterge* sterge* elimină elimina golește trimite* publică distribuie plătește plateste cumpără
            cumpara comandă deconectare deconectează instalează dezinstalează acceptă accept_si permite confirmă
            confirma resetează formatează blochează""",
        "el": """διαγραφ* διεγραψ* καταργηση αφαιρεση εκκαθαριση αποστολη στειλε δημοσιευση κοινοποιηση πληρωμη
            πληρωσε αγορα αγορασε παραγγελια αποσυνδεση εξοδος τερματισμος επανεκκινηση αποδοχη συμφωνω επιτρεπω
            επιβεβαιωση εγκριση επαναφορα μορφοποιηση_δισκου αποκλεισμος εγκατασταση απεγκατασταση""",
        "vi": """xóa xoá gỡ_cài_đặt cài_đặt_ngay gửi đăng_bài thanh_toán mua mua_ngay đặt_hàng đăng_xuất chấp_nhận
            đồng_ý cho_phép xác_nhận khởi_động_lại tắt_máy""",
        "th": "ลบ ส่ง ชำระเงิน จ่าย ซื้อ สั่งซื้อ ออกจากระบบ ยอมรับ อนุญาต ยืนยัน ติดตั้ง เผยแพร่",
        "id": """hapus buang kirim bayar beli pesan_sekarang terbitkan keluar terima setuju izinkan konfirmasi
            instal copot matikan""",
        "hi": """हटाएं हटाएँ मिटाएं मिटाएँ भेजें भुगतान खरीदें ख़रीदें ऑर्डर स्वीकार सहमत अनुमति पुष्टि इंस्टॉल
            साइन_आउट लॉग_आउट प्रकाशित""",
        "ca": "esborra* suprimeix elimina envia publica paga compra accepta confirma surt tanca_la_sessio",
    }
)

# Names of folders and pages that have such a word and are only looked at.
NOUNS = Vocabulary(
    {
        "en": """deleted_items recently_deleted deleted_messages deleted_files removed_items order_history
            order_status purchase_history transfer_history reset_zoom reset_view clear_search clear_filter
            clear_filters share_price exit_full_screen exit_fullscreen quit_smoking""",
        "de": "gelöschte_objekte gelöschte_elemente gesendete_objekte bestellverlauf",
        "fr": "elements_supprimes messages_supprimes elements_envoyes messages_envoyes historique_des_commandes",
        "es": "elementos_eliminados mensajes_eliminados elementos_enviados mensajes_enviados historial_de_pedidos",
        "it": "elementi_eliminati messaggi_inviati",
        "pt": "itens_excluidos itens_eliminados mensagens_enviadas",
        "nl": "verwijderde_items verzonden_items",
        "ru": "удаленные отправленные история_заказов",
        "zh": "已删除 已发送 订单历史",
        "ja": "削除済み 送信済み 注文履歴",
    }
)


def risky_word(text: str) -> str:
    """Return the first word for an action that may not be undone, as the text has it, or an empty string."""
    return COMMIT.find(text, NOUNS)
