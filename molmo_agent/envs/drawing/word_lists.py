"""The raw word lists of the simulated desktop; see ``words`` for how they are split and used."""

_ENGLISH = """
able about above accept access account across act action active actor actual adapt add address adjust admin admit
adult advance advice affair afraid after again age agency agent ago agree ahead aid aim air alarm album alert alive
all allow almost alone along alpha already also alter always amber amount anchor ancient angle animal annual answer
ant any apart apple apply april arch area arm army around arrive arrow art article ask aspect asset assist atlas atom
attach attack attempt audio august author auto autumn avenue average avoid award aware away baby back backup bacon bad
badge bag bake balance ball balloon banana band bank bar base basic basket bath battery beach beam bean bear beat
beauty become bed bee beer before begin behind believe bell belong below belt bench benefit best beta better between
beyond big bike bill bin bind bird birth bit bite black blade blank blanket block blood bloom blow blue board boat
body boil bold bolt bone bonus book boot border borrow boss both bottle bottom bowl box boy brain branch brand brave
bread break breakfast breath brick bridge brief bright bring broad brother brown browser brush bubble bucket budget
buffer build bulb bull bundle burn bus business busy butter button buy cabin cabinet cable cache cactus cage cake
calendar call calm camera camp canal cancel candle candy canvas capital captain car carbon card care career cargo
carpet carrot carry cart case cash castle cat catch category cause cave ceiling cell center century certain chain
chair chalk challenge chance change channel chapter charge chart chase cheap check cheese cherry chess chest chicken
chief child choice choose circle citizen city claim class classic clay clean clear clerk clever click client cliff
climb clock close cloth cloud club clue coach coal coast coat code coffee coin cold collect college color column comb
combine come comfort comma command comment common company compare compass complete computer concert condition confirm
connect consider contact contain content contest context continue contract control cook cookie cool copper copy coral
core corn corner correct cost cotton couch cough count country couple course court cousin cover cow craft crane cream
create credit crew crop cross crowd crown cruise crystal cup curious current curtain curve custom customer cut cycle
daily damage dance danger dark data date daughter dawn day deal dear debate debt decade december decide deck deep deer
default defend define degree delay deliver delta demand dentist depend depth desert design desk detail detect develop
device diagram dial diamond diary dice diet digital dinner direct dirt disc discover dish disk display distance divide
doctor document dog dollar dolphin domain door dot double doubt down dozen draft dragon drama draw drawer dream dress
drift drill drink drive driver drop drum dry duck due dust duty eager eagle ear early earn earth ease east easy echo
edge editor effect effort egg eight elbow elect electric element elephant eleven email empty enable end enemy energy
engine enjoy enough enter entire entry envelope equal error escape estate evening event every evidence exact exam
example except exchange excite excuse exercise exist exit expand expect expert explain explore export express extra
eye fabric face fact factor factory fade fail fair faith fall false fame family famous fan fancy far farm fashion fast
father fault favor fear feather feature february federal fee feed feel fence festival fever few fiber field fifteen
fifth fig fight figure file fill film filter final find finger finish fire firm first fish fit five fix flag flame
flash flat flavor flight float floor flour flow flower fluid fly foam focus fog fold folder follow food foot force
forest forget fork form format forum forward found four fox frame free freedom freeze fresh friday friend frog front
frost fruit fuel full fun function fund funny future gadget gain galaxy gallery game gap garage garden garlic gas gate
gather general gentle ghost giant gift ginger girl give glad glass global glory glove glow glue goal goat gold golf
good goose govern grace grade grain grand grant grape graph grass gravity gray great green greet grid grill grip
ground group grow guard guess guest guide guitar gulf gym habit hair half hall hammer hand handle happen happy harbor
hard harvest hat hawk head health hear heart heat heavy height hello helmet help hen herb hero hidden high hill hint
history hit hobby hold hole holiday hollow home honest honey hook hope horizon horn horse hospital host hotel hour
house hover huge human humor hundred hungry hunt hurry ice icon idea ideal ignore image import improve inbox inch
include income index indoor industry info ink inner input insect insert inside install instant iron island item ivory
jacket jam january jar jazz jelly jewel job join joke journal journey joy judge juice july jump june jungle junior
jury just keen keep kettle key kick kid kind king kiss kit kitchen kite knee knife knock knot know label labor lace
ladder lady lake lamp land lane language laptop large laser last late laugh launch law lawn layer lazy lead leader
leaf league learn leather leave lecture left legal lemon length lens lesson letter level lever library license life
lift light lily limb limit line link lion liquid list listen liter little live loan lobby local lock lodge logic long
look loop lose loud love low loyal lucky lunch machine magic magnet mail main major make male mango manner manual map
maple marble march margin marine mark market mask master match material math matrix matter may meadow meal mean
measure meat media medium meet melody melon member memory menu merge message metal meter method middle midnight mild
mile milk mill mind mineral mint minute mirror miss mist mix mobile mode model modern module moment monday money
monitor monkey month moon more morning motion motor mount mountain mouse mouth move movie much mud muscle museum music
myth nail name narrow nation nature navy near neat neck need needle nephew nerve nest net network neutral never news
next nice night nine noble noise none noon normal north nose note notice novel november now number nurse nut oak
object ocean october odd offer office often oil okay old olive omega one onion online only open opera option orange
orbit order organ origin other outdoor outer outline output oven over owl own owner oxygen oyster pace pack package
page pain paint pair palace palm pan panda panel paper parade parcel parent park parrot part partner party pass past
paste pastry patch path patient pattern pause payment peace peach peak pear pearl pedal pen pencil people pepper
perfect period person phone photo phrase piano pick picnic picture piece pigeon pilot pine pink pioneer pipe pitch
pizza place plain plan plane planet plant plastic plate play player plaza plenty plot plug plum plus pocket poem poet
point polar pole police policy polish pond pony pool popular port portal position post potato pottery pound powder
power practice praise prefer premium present press pretty preview price pride primary prince print prior prize problem
process produce profile profit program project promise proof proper protect proud public pulse pump pupil purchase
pure purple purpose puzzle quality quarter queen query quest question queue quick quiet quilt quit quiz quote rabbit
race radar radio rail rain raise ranch random range rapid rare rate ratio raven reach read ready real reason rebel
recall receipt recipe record recover recycle red reduce refer reflect reform refresh refund region regular relate
relax release remain remember remote remove rename rent repair repeat replace reply report request rescue reset resort
rest result resume retry return reveal review reward rhythm ribbon rice rich ride right ring rise river road roast
robot rock rocket role roll roof room root rope rose rotate rough round route royal ruby rule run rural sad safe sail
salad sale salmon salt same sample sand satin saturday sauce save scale scan scarf scene school science score scout
screen script sea search season seat second secret section secure seed select sell send senior sense sentence
september series server service session settle seven shade shadow shake shape share shark sharp sheep sheet shelf
shell shield shift shine ship shirt shoe shop shore short shoulder show shower side sign signal silent silk silver
similar simple since sing single sister site six size skate sketch ski skill skin sky sleep slice slide slim slow
small smart smile smoke smooth snack snake snow soap social sock soft soil solar solid solve some son song soon sort
soul sound soup source south space spare spark speak special speed spell spend spice spider spin spirit split sponsor
spoon sport spot spring square stable stack stadium staff stage stair stamp stand star start state station status stay
steam steel stem step stick still stock stone stool stop store storm story stove strange straw stream street stretch
strike string strong student studio study style subject submit success sugar suggest suit summer sun sunday sunset
super supply support sure surface surprise swan sweet swim swing switch symbol system table tag tail talent talk tall
tank target task taste tax taxi tea teach team tell temple ten tennis tent term test text thank theme theory thick
thin thing think third thirty thread three thrive thumb thunder thursday ticket tide tidy tiger tile timber time tin
tiny tip tired title toast today toe token tomato tomorrow tone tool tooth top topic torch total touch tour towel
tower town toy track trade traffic trail train transfer travel tray treat tree trend trial tribe trick trip truck true
trumpet trust truth try tuesday tulip tuna tunnel turkey turn turtle twelve twenty twin two type uncle under union
unique unit update upgrade upload upper urban urgent use user usual valid valley value van vanilla vast vector velvet
vendor venue verb verify version video view village vintage violet violin virtual vision visit visual vital vivid
voice volume vote wagon wait walk wall walnut want warm wash watch water wave way wealth weather web wedding wednesday
week weekend welcome west wet whale wheat wheel when where white wide widget width wild willow win wind window wine
wing winner winter wire wise wish witness wolf wonder wood wool word work world worry worth wrap write yard year
yellow yesterday yogurt young zebra zero zinc zone zoom
"""

_OTHERS = """
Grüße Straße schließen öffnen Löschen Übersicht Größe ändern Zurück Schlüssel Müller Äpfel Bücher fünf Köln prüfen
Datei bearbeiten speichern abbrechen Anmelden Benutzer Passwort suchen weiter Hilfe Einstellungen déjà été élève
garçon hôtel français fenêtre créer télécharger fermer Paramètres réseau forêt naïve café façade Annuler enregistrer
bienvenue connexion utilisateur suivant précédent aperçu château tâche mañana niño señor año español corazón canción
también después contraseña Aceptar cancelar archivo guardar búsqueda configuración sesión más atrás página imágenes
água coração informação não olá città perché Łódź život děkuji så för även
"""

_PHRASE_LINES = """
OK|Cancel|Apply|Close|Save|Save as...|Open|Open file|New file|New folder|New window|New tab|Undo|Redo|Cut|Copy|Paste
Select all|Find|Find next|Replace|Replace all|Print|Print preview|Page setup|Export|Export as PDF|Import|Properties
Preferences|Settings|Options|Help|About|Check for updates|Exit|Quit|Sign in|Sign out|Sign up|Log in|Log out|Register
Forgot password?|Remember me|Stay signed in|Create account|Delete account|Username|User name|Password|First name
Last name|Full name|Name|Email|Email address|Phone|Phone number|Address|Street|City|Country|Postal code|State|Company
Job title|Website|Date of birth|Age|Gender|Message|Subject|Comment|Notes|Description|Title|Amount|Quantity|Price|Total
Submit|Send|Reset|Clear|Clear all|Next|Back|Previous|Finish|Continue|Skip|Done|Yes|No|Maybe later|Not now|Retry|Ignore
Abort|Accept|Decline|Agree|I agree|Accept all|Reject all|Allow|Deny|Block|Confirm|Discard|Don't save|Keep|Remove|Delete
Rename|Move to trash|Empty trash|Restore|Download|Upload|Share|Add|Add item|Add to cart|Buy now|Checkout|Subscribe
Unsubscribe|Follow|Like|Reply|Forward|Archive|Mark as read|Search|Advanced search|Filter|Sort by name|Sort by date|View
Edit|File|Insert|Format|Tools|Window|History|Bookmarks|Home|Inbox|Sent|Drafts|Spam|Trash|Documents|Pictures|Music
Videos|Downloads|Desktop|Recent|Favorites|Network|Computer|Zoom in|Zoom out|Full screen|Fit to page|Actual size|Refresh
Reload|Stop|Play|Pause|Record|Mute|Volume|Brightness|Contrast|Speed|Quality|Opacity|Font size|Line height|Bold|Italic
Underline|Align left|Align right|Center|Show hidden files|Show grid|Show ruler|Show sidebar|Show toolbar|Dark mode
Night light|Notifications|Enable notifications|Enable sync|Enable sound|Auto save|Auto update|Send reports
Use proxy|Wi-Fi|Bluetooth|Airplane mode|Location|Language|Region|Time zone|Date and time|Keyboard|Mouse|Display|Sound
Power|Battery|Storage|Memory|Privacy|Security|Accounts|Users|Apps|Updates|Backup|Devices|Printers|Appearance|Themes
Wallpaper|General|Advanced|Basic|Details|Overview|Summary|Profile|Account|Billing|Payment|Orders|Invoices|Reports
Dashboard|Analytics|Calendar|Contacts|Tasks|Messages|Chat|Friends|Groups|Events|Photos|Files|Shared|Starred|Read more
Learn more|Show more|Show all|See details|View all|Get started|Contact us|Terms of service|Privacy policy|Cookie policy
Support|Feedback|Report a bug|Download now|Try for free|Start trial|Upgrade|Upgrade now|Restart|Restart later|Shut down
Sleep|Lock screen|Log off|Switch user|Turn on|Turn off|Connect|Disconnect|Pair device|Eject|Mount|Format disk|Scan
Install|Uninstall|Update all|Update now|Remind me later|Run|Build|Debug|Test|Deploy|Commit|Push|Pull|Merge|Compare
Standard|Express|Overnight|Economy|Credit card|Bank transfer|Cash|Small|Medium|Large|Low|Normal|High|Daily|Weekly
Monthly|Never|Always|Ask every time|Left|Right|Top|Bottom|None|All|Custom|Default|Light|Dark|System|English|Deutsch
Français|Español|Speichern|Abbrechen|Öffnen|Schließen|Einstellungen|Suchen|Enregistrer|Annuler|Fermer|Rechercher
Guardar|Cancelar|Abrir|Cerrar|Buscar|Iniciar sesión|Se connecter|Anmelden|Alle löschen|Mot de passe|Contraseña
"""

DICTIONARY: tuple[str, ...] = tuple(dict.fromkeys(_ENGLISH.split()))
"""About 1700 common English words."""

FOREIGN: tuple[str, ...] = tuple(dict.fromkeys(_OTHERS.split()))
"""German, French, Spanish and other words with accents."""

PHRASES: tuple[str, ...] = tuple(
    dict.fromkeys(p for line in _PHRASE_LINES.strip().splitlines() for p in line.split("|"))
)
"""What controls are called."""
