"""Words that tell English sentences about a chest film from those of other languages.

Own lists: function words, and the words of reports for sides, organs and denial. A word stands in
one of them only if its spelling is not also common on the other side: "no", "in", "normal",
"pleural", "infiltrate" or "consolidation" decide nothing. Letters with accents and other scripts
need no list.
"""

from __future__ import annotations


def _words(*texts: str) -> frozenset[str]:
    return frozenset(word for text in texts for word in text.split())


ENGLISH = _words(
    """
    the of and there are is with without from this that these those which be been being has have
    had were not but by its they we our you or nor neither may might could would should cannot
    does did do any each both while however although because since otherwise into through between
    across around near above below behind than then here what when where how if whether rather
    either other another some all few more less least very only just now again well likely
    possibly probably unlikely appears appear appearing seems suggests suggest suggesting
    suggestive suspicious suspect suspected concern concerning consistent compatible evidence
    within limits unremarkable clear clearly small tiny large mild mildly moderately slightly
    slight markedly severely minimally left right sided side sides bilaterally lung lungs heart
    size sized enlarged enlargement effusions effusion opacity opacities airspace upper lower
    middle midlung bony bone bones osseous rib ribs spine shoulder clavicle blunting blunted line
    lines wires leads lead catheter device devices hardware seen shown noted identified
    demonstrated visualized visualised appreciated remains remain unchanged improved worsened
    worsening improving chest views view radiograph radiographs shows show showing findings
    finding disease process soft tissues tissue shadow shadowing shadows widened widening
    increased increase decreased decrease prominence low high healed healing old new midline
    diaphragm hemidiaphragm hemidiaphragms elevated changes change costophrenic sternotomy clips
    collapse collapsed mass pneumothoraces infiltrates oedema cardiomegaly cardiac pulmonary
    atelectasis thickening scarring scar streaky patchy hazy haze hyperinflated hyperexpanded
    inflated expanded calcified tortuous abnormality abnormalities abnormal radiographic look
    looking looks see check assess evaluate let first next overall summary prior previous
    previously compared comparison placed terminates overlying obscured obscuring sharp smooth
    intact free acutely apices fractured vascularity vasculature crowding markings granulomatous
    hiatal cavitary lucency density densities exam examination study silhouettes limited adequate
    rotated answer please correlate clinically maybe due factors loss secondary recommend
    recommended recommends recommendation follow followup up ensure resolution appropriate
    treatment true exclude excluded post status bypass grafting body bodies deformities fat pads
    grossly interval technical further known displaced nondisplaced specific specifically
    obstructive calcific obstructed diagnosis final discharge pain
    """
)

# English too, but spelled so in other languages as well: no evidence, except that a sentence with
# one of them is not of a language that has no list here.
SHARED = _words(
    """
    no in on to as at for an was it can so per over also still air support evaluation technique
    complete evident normal stable focal bilateral pleural apical acute multiple fracture
    fractures lobe lobes degenerative hernia contours congestion rotation inspiration structures
    question patient patients film films possible impression present prominent marked
    calcifications volume volumes level nodule nodules granuloma port thoracic lumbar anterior
    posterior lateral basilar infiltrate consolidation minimal moderate severe extensive central
    visible base bases angle trachea aorta mediastinum silhouette
    """
)

_OTHERS: dict[str, str] = {
    "German": """
    kein keine keinen keiner keinem keines der das den dem des und ist sind mit ohne nicht im bei
    beim beidseits beidseitig beidseitige beidseitiger rechts links rechten linken rechte linke
    rechter linker rechtes linkes rechtsseitig linksseitig rechtsseitiger linksseitiger
    rechtsseitige linksseitige rechtsbasal linksbasal rechtsapikal linksapikal eine einen einer
    eines einem ein auf auch zeigt zeigen herz herzgrenzen lunge lungen erguss pleuraerguss
    verdacht nachweis regelrecht regelrechte sowie zustand nach wird werden befund beide beiden
    kleiner kleine kleines stauung verschattung verschattungen zeichen deutlich gering geringer
    etwas vom zum zur von aus sich wie nur noch jedoch unter oder aber normaler normale
    kardiomegalie mediastinums mediastinaler apikal apikaler basale
    ausschluss ausgeschlossen keinerlei nein negativ fehlt fehlend unauffaellig vergroessert kardial
    """,
    "French": """
    pas le la les du de et est sont une un avec sans aux au dans sur pour par il ne ni cette ce ces
    droit droite gauche gauches poumon poumons coeur aucun aucune epanchement taille foyer deux
    petit petite peut qui que sous chez ou mais cardiaque pulmonaire pulmonaires pleurale pleuraux
    cardiomegalie pneumopathie normaux normale normales droites ainsi nous sommet
    exclu exclue oui aucunement
    """,
    "Spanish": """
    sin el los las del una con en es son hay se que para al lo derecho derecha derechos izquierdo
    izquierda pulmones pulmon corazon derrame neumotorax observa observan aprecia aprecian muestra
    cardiomegalia silueta cardiaca pulmonar pulmonares ambos ambas imagen imagenes leve lado
    normales limites dentro torax fracturas signos hallazgos consolidacion existe existen
    ausente ausencia negativo negativa descartado descartada ningun ninguna descarta
    """,
    "Italian": """
    gli dei delle della dello degli di da nel nella nei nelle senza sono si destro destra destri
    sinistro sinistra polmoni polmone cuore versamento pneumotorace alcun alcuna nessun nessuna
    evidenza ingrandito ingrandita ed che alla ai sul sulla ombra addensamento addensamenti
    pleurico pleurici normali segni anche presenta osserva osservano polmonare polmonari lieve
    consolidamento frattura fratture campo campi bilaterale bilaterali
    assente assenti assenza escluso esclusa esclusi neppure
    """,
    "Portuguese": """
    sem os um uma dos das nos nas em com pelo pela esquerdo esquerda direito direita pulmao
    pulmoes coracao pneumotorax aumento aumentada sinais normais ao aos mas observa observam
    consolidacao cardiaco ambos fratura fraturas aspecto preservado
    ausentes nenhum nenhuma nem
    """,
    "Polish": """
    nie bez jest na po prawej lewej prawa lewa prawego lewego prawym lewym pluca pluc serce serca
    odma odmy plyn plynu jamie oplucnej cechy cech zmian zmiany widoczne widoczna stwierdza sie
    oraz lub sylwetka obustronnie ognisk niewielka niewielki
    brak wykluczono wykluczona wykluczony uwidoczniono
    """,
    "Turkish": """
    yok yoktur var ve ile bir bu sag sol akciger akcigerde akcigerler kalp plevral izlenmedi
    izlenmektedir izlendi mevcut mevcuttur saptanmadi normaldir iki olarak sagda solda pnomotoraks
    efuzyon boyutu artmis
    """,
    "Dutch": """
    geen het een en van zijn niet met zonder linker rechter longen hart vergroot er ook aan dat
    voor uit naar wordt worden longveld pleuravocht afwijkingen aanwijzingen duidelijk zichtbaar
    afwezig uitgesloten
    """,
    "Swedish, Norwegian, Danish": """
    ingen inga inget intet och ej inte utan av ett det som till og ikke uten uden til venstre
    lungor lungorna lunger lungene lungerne hjerte hjertet begge sider tegn ses pleuraeffusjon
    pleuraeffusion normalt
    saknas mangler utesluten
    """,
    "Finnish": """
    ei ole ja oikea oikealla vasen vasemmalla keuhkot keuhkoissa normaali ilman tai
    puuttuu todeta
    """,
    "Czech, Slovak, Croatian, Serbian, Slovene": """
    je jsou su vpravo vlevo vpravo plice srdce pravo levo nema ili desno desna lijevo lijeva levo
    srce pluca nije nisu vidi vide sta
    """,
    "Hungarian": "nincs nem az egy bal jobb mellkas oldali oldalon tudo sziv lathato",
    "Romanian": """
    nu este sunt cu dreapta stanga drept stang plamani inima lichid fara revarsat pleurala
    """,
    "Indonesian": """
    tidak tampak dan pada dengan yang paru jantung kanan kiri kedua efusi kesan tak dalam batas
    tanpa bukan
    """,
    "Vietnamese": "khong phoi tim trai phai tran dich mang",
    "Albanian, Baltic, Basque, Catalan, Estonian, Icelandic": "nuk ka nera nav ez engin ekki",
    "Tagalog": "walang ang mga",
}
OTHER = _words(*_OTHERS.values())

# Half as much as a word of another language: Italian and French deny with it, and English begins
# words with it ("non displaced").
HALF_OTHER: frozenset[str] = frozenset({"non"})

# Endings of other languages for words that are in no list. No word of the Open-I reports and of the
# NegEx sentences has one.
OTHER_ENDINGS = _words(
    """
    ico icos icas ado ada ados adas idos idas iale iali iques euse eux aires elle elles enne
    ennes lich liche licher liches keit isch ische ischer isches ischen ungen iert ierte ierter
    iertes zione zioni mente cja cji owy owa owe ego ych ymi czny czna aal iteit heden evole abile
    abili ato ati uto uta ivo iva ivi aux aient ante enti ento enza anza oni oso osi maktadir mistir
    ttu
    """
)
