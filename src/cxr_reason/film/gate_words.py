"""Words of headers for body parts and views, in many languages, and what a text says by them.

Tables are folded by `fold`, as are the texts: upper case, no accents, single spaces.
"""

# ruff: noqa: RUF001 (letters of other scripts)

from __future__ import annotations

import re
from typing import Literal

from cxr_reason.film.header_text import fold

Part = Literal["chest", "other", "placeholder", "unknown"]
View = Literal["PA", "AP", "frontal", "not frontal", "unknown"]


def terms(text: str) -> frozenset[str]:
    """Return the words of `text`."""
    return frozenset(text.split())


# Body parts of PS3.16 Annex L, the values of Body Part Examined: the only ones that a refusal may
# repeat.
DEFINED_PARTS = terms(
    "ABDOMEN ABDOMENPELVIS ADRENAL ANKLE AORTA ARM AXILLA BACK BLADDER BRAIN BREAST BRONCHUS "
    "BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CLAVICLE COCCYX COLON CORNEA "
    "CORONARYARTERY CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR "
    "FINGER FOOT FOREARM GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS IAC ILEUM ILIUM JAW "
    "JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE LSSPINE MANDIBLE MAXILLA MEDIASTINUM MOUTH NECK "
    "NOSE ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS PHARYNX PROSTATE RECTUM RIB SCALP SCAPULA "
    "SHOULDER SKULL SPINE SPLEEN SSPINE STERNUM STOMACH TESTIS THIGH THUMB THYMUS THYROID TIBIA "
    "FIBULA TLSPINE TMJ TOE TONGUE TRACHEA TSPINE TOOTH TEETH DENTAL URETER URETHRA UTERUS "
    "WHOLEBODY WRIST ZYGOMA"
)
# View positions of PS3.3 C.8.7.10.1.1 and C.8.11.5 that are not frontal.
DEFINED_VIEWS = terms("LL RL LLD RLD LLO RLO LAO RAO LPO RPO LATERAL OBLIQUE AXIAL CC ML LM MLO")


def _matcher(*, anywhere: str = "", starts: str = "", words: str = "") -> re.Pattern[str]:
    """Return what finds any of the comma-separated terms: anywhere, at a word's start, as words."""
    kinds = [("{}", anywhere), (r"\b{}", starts), (r"\b{}\b", words)]
    patterns = [
        pattern.format(re.escape(folded).replace(r"\ ", " "))
        for pattern, terms in kinds
        for term in terms.split(",")
        if (folded := fold(term))
    ]
    return re.compile("|".join(patterns))


# Films of ribs, named by the chest.
_RIBS = _matcher(words="tórax óseo,hemithorax,hemitorax,parrilla costal,grilla costal,gril costal")
_SURELY_CHEST = _matcher(
    anywhere="chest,thorax,torax,toraks,torace,thoraks,cxr,brustkorb,胸部,胸片,胸廓,胸腔,肺,"
    "흉부,가슴,キョウブ,صدر,ทรวงอก",
    starts="poitrin,klatka piers,klatki piers,kl piers,borstkas,bröstkorg,brystkass,"
    "brjóstkass,mellkas,rintakehä,hrudník,hrudnik,rindkere,krūtinės ląst,krūškurv,"
    "prsni koš,prsni kos,grudni koš,грудная клет,грудной клет,грудна кліт,грудної кліт,"
    "гръден кош,огк,огп,торакс,флюорогр,θώρα,lồng ngực,lungen,lungf,pulmon,pulmao,"
    "pulmoes,poumon,polmon,płuc,pluc,plic,keuhko,akciğer,plămân,pljuč,kopsud,plaučiai,"
    "plaušas,легк,леген,бял дроб,бели дробове,πνευμον",
    words="lung,lungs,lunge,lunger,lungor,lungorna,lungu,longen,tüdő,ngực,phổi,paru,klp,thx,"
    "th x,флг,חזה,ריאות,رئة,رئتين,ปอด,छाती,फेफड़े,폐,흉곽",
)
_PERHAPS_CHEST = _matcher(  # where no other part is named: thoracic spine, breast gland
    starts="thorac,thorak,torac,груд,гърд",
    words="pecho,peito,petto,göğüs,dada,hrud,klatka,胸,胸正位",
)
_OTHER = _matcher(
    anywhere="mammo,wirbel,胸椎,胸骨,頚椎,颈椎,腰椎,脊柱,脊椎,腹部,骨盆,骨盤,股骨,上肢,下肢,"
    "左手,右手,手指,左足,右足,頭部,头部,頭蓋,颅,膝,手部,手関節,足部,乳房,乳腺,歯,牙,"
    "口腔,肩,股関節,髋,복부,척추,골반,무릎,유방,치아",
    starts="abdom,addom,abdóm,bauch,ventre,brzuch,břich,buik,vatsa,живот,брюшн,кож,spine,"
    "spinal,rachis,colonne,colonna,columna,coluna,kręgosł,páteř,wervel,позвон,хребет,"
    "vertebr,thoracolumb,thorakolumb,toracolomb,lumb,lomb,cervical,zervikal,halswirb,"
    "sacro,sakr,coccy,steiss,pelvi,pélvis,bassin,bacino,becken,miednic,pánev,bekken,таз,"
    "skull,schädel,schaedel,crâne,cranio,cráneo,crânio,czaszk,lebk,schedel,череп,sinus,"
    "nasen,orbit,mandib,maxill,kiefer,mâchoire,żuchw,dental,dents,denti,dientes,zahn,"
    "zähne,zaehne,tooth,teeth,ząb,zęb,zub,зуб,panoram,orthopant,ortopant,opg,intraoral,"
    "periapical,bitewing,cephalo,finger,doigt,dedo,palec,thumb,daumen,shoulder,schulter,"
    "épaule,spalla,hombro,ombro,barku,rameno,плеч,elbow,ellenb,ellbog,coude,gomito,codo,"
    "cotovelo,łok,loket,локт,forearm,unterarm,oberarm,humerus,omero,húmero,radius,ulna,"
    "clavic,klavik,schlüsselb,obojcz,scapul,schulterbl,omoplat,escápul,sternum,esternón,"
    "brustbein,ribs,rippen,costill,costelas,żebr,žebr,ребр,breast,mamma,mamograf,"
    "mamografía,brust,borst,piers,грудная желез,молочн,femur,fémur,fêmur,oberschenk,"
    "kość udow,stehenn,bedro,бедр,tibia,fibula,unterschenk,patell,rodilla,joelho,"
    "ginocchi,genou,kolan,kolen,колен,ankle,sprunggel,cheville,caviglia,tobillo,"
    "tornozelo,kostk,calcan,fersen,extremit,extrémit,upper limb,lower limb,herz,kidney,"
    "niere,bladder,blase,harnbl,stomach,magen,oesoph,esoph,esofag,ösoph,barium,urogr,"
    "pyelo,hystero,angio,wholebody,whole body,ganzkörper,skelet,скелет,babygram",
    words="abd,nnh,exm,mama,mamas,hand,hands,hände,mano,manos,main droite,main gauche,mains,"
    "seno,rein,reins,bark,colon,kolon,heart,dito,sacrum,sacral,mão,mãos,mani,dłoń,ręka,"
    "ruka,кисть,кисти,рука,wrist,wrists,handgelenk,poignet,polso,muñeca,pulso,punho,"
    "nadgarstek,zápěstí,pols,foot,feet,fuß,fuss,füße,pied,pieds,piede,pie,pies,pé,pés,"
    "stopa,noha,voet,стопа,toe,toes,zehe,zehen,orteil,knee,knees,knie,hip,hips,hüfte,"
    "huefte,hanche,anca,cadera,quadril,biodro,kyčel,heup,leg,legs,bein,jambe,gamba,"
    "pierna,perna,noga,arm,arms,bras,braccio,brazo,braço,head,kopf,tête,testa,cabeza,"
    "cabeça,głowa,hlava,hoofd,голова,neck,hals,cou,collo,cuello,pescoço,szyja,krk,nek,"
    "шея,face,facial,nose,nez,jaw,teeth,rib,aorta,thigh,calf,heel,hallux,espalda,"
    "schiena,pelvis,kub,bws,hws,lws,cspine,tspine,lspine,lsspine,c spine,t spine,"
    "l spine,ls spine,bone age,knochenalter,eye,eyes,ear,iac,tmj",
)
_PLACEHOLDERS = _matcher(
    words="unknown,default,other,others,none,null,nil,na,n a,nan,unspecified,undefined,"
    "unassigned,not specified,not available,not applicable,not defined,misc,"
    "miscellaneous,general,any,all,test,body,body part,bodypart,standard,custom,free,"
    "xray,x ray,cr,dx,dr,xr,rx,radiograph,radiography,x,xx,xxx,unbekannt,sonstige,"
    "sonstiges,andere,diverse,diverses,keine,inconnu,autre,autres,aucun,divers,"
    "desconocido,otro,otros,ninguno,sconosciuto,altro,altri,nessuno,desconhecido,outro,"
    "outros,nenhum,onbekend,overig,overige,geen,anders,inne,inny,nieznany,nieznana,brak,"
    "jiné,neznámé,ostatní,okänd,annan,övrigt,ukendt,andet,ukjent,annet,tuntematon,muu,"
    "ismeretlen,egyéb,necunoscut,altele,bilinmiyor,diğer,неизвестно,другое,прочее,нет,"
    "невідомо,інше,その他,不明,未知,其他,其它,未定,미상,기타",
)
_NOT_FRONTAL = _matcher(
    anywhere="側面,侧面,侧位,側位,斜位,측면,사위,軸位,轴位",
    starts="latero,seitlich,seitenauf,zijdel,zijaanz,oblique,obliqu,oblicu,schräg,schraeg,"
    "skośn,šikm,sikm,schuin,boczn,bočn,bocn,links anlieg,rechts anlieg,dwars,oldalir,"
    "sivukuv,sivuprojekt,sivusta,sidobild,sidebill,sagit,axial,axiaal,tangent,decubitus,"
    "боков,бічн,кос,профил,профіл,xcc,πλάγι,nghiêng,yan graf,جانبي,mlo,swimmer",
    words="ll,rl,lld,rld,llo,rlo,lao,rao,lpo,rpo,lat,llat,rlat,lateral,laterale,lateralis,"
    "lateraal,lateralny,lateralna,laterolateral,profil,profilo,profiel,perfil,obl,decub,"
    "yan,side,seitl,bok,sivu,sida,zij,latl,latr,sag",
)
_PA = _matcher(
    anywhere="後前,后前",
    starts="tylno przedn,zadopřed,posteroanterior,postero anterior,posterior anterior,"
    "dorsoventral,dorso ventral",
    words="pa,p a,dv",
)
_AP = _matcher(
    anywhere="前後,前后",
    starts="przednio tyln,předozad,anteroposterior,antero posterior,anterior posterior,"
    "ventrodorsal,ventro dorsal",
    words="ap,a p,vd",
)
_FRONTAL = _matcher(anywhere="正位,正面,정면", starts="frontal,прям", words="face,de face")


def judge_part(text: str) -> Part:
    """Say what a folded text names: the chest, too where other parts are named with it."""
    if _RIBS.search(text):
        return "other"
    if _SURELY_CHEST.search(text):
        return "chest"
    if text.replace(" ", "") in DEFINED_PARTS or _OTHER.search(text):
        return "other"
    if _PERHAPS_CHEST.search(text):
        return "chest"
    return "placeholder" if _PLACEHOLDERS.fullmatch(text) or not text.strip("0 ") else "unknown"


def judge_view(text: str) -> View:
    """Say which view a folded text names; not frontal where it names another view too."""
    if text in DEFINED_VIEWS or _NOT_FRONTAL.search(text):
        return "not frontal"
    is_pa, is_ap = bool(_PA.search(text)), bool(_AP.search(text))
    if is_pa != is_ap:
        return "PA" if is_pa else "AP"
    return "frontal" if is_pa or _FRONTAL.search(text) else "unknown"
