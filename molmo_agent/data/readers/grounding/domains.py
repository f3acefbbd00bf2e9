"""The six domains of UI-Vision's programs, as its authors list them beside the data (mapdict_cat2platform.json)."""

import re

DOMAINS = {
    "education": ("Anki", "Zotero", "GrassGIS", "Calibre", "Audacity", "QGIS", "OpenBoard", "Mendeley"),
    "browsers": ("Brave", "Chromium", "Mozilla Firefox", "DuckDuckGo"),
    "development": (
        *("VSCode", "Atom", "FreeCAD", "Eclipse", "NetBeans", "PyCharm", "IntelliJ IDEA", "Brackets", "Geany"),
        *("Bluefish", "KDevelop", "Komodo Edit", "Code::Blocks", "Qt Creator", "Arduino IDE", "Spyder"),
        *("Ubuntu Terminal", "Conky", "Bash", "gedit"),
    ),
    "productivity": (
        *("LibreOffice Calc", "LibreOffice Draw", "LibreOffice Impress", "LibreOffice Writer", "draw.io", "Joplin"),
        *("OpenProject", "Affine", "Zulip", "PDFedit", "OnlyOffice Calendar", "OnlyOffice Document Editor"),
        *("OnlyOffice Forms", "OnlyOffice PDF Forms", "OnlyOffice Presentation", "OnlyOffice Spreadsheet"),
        *("Nextcloud", "Gnumeric", "Simplenote", "Cryptomator", "WeKan", "7-Zip", "GnuCash", "Bitwarden"),
        *("Metabase", "Jitsi", "Flameshot", "Nemo"),
    ),
    "creativity": (
        *("Blender", "GIMP", "Inkscape", "Krita", "darktable", "FontForge", "MuseScore", "Scribus", "OpenShot"),
        *("OBS Studio", "Lightworks", "Shotcut", "Natron", "OpenToonz", "WordPress"),
    ),
    "entertainment": ("VLC Media Player", "Kodi", "Element", "Signal", "Mastodon", "Lemmy", "Matrix", "Emby"),
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_DOMAIN_OF = {_plain(name): domain for domain, names in DOMAINS.items() for name in names}


def domain_of(program: str) -> str:
    """Return the domain of a program, however its name is spaced and capitalized; "not listed" for any other."""
    return _DOMAIN_OF.get(_plain(program), "not listed")
