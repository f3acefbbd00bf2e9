"""How a program is shown: screen size, scale, theme, icons and font, written as settings into a home folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A screen and the settings of the programs on it.

    Args:
        size: (width, height) of the screen in pixels.
        scale: pixels per unit of the programs, 1 or 2.
        theme: "light", "dark" or "contrast".
        icons: name of the icon theme.
        style: widget style of Qt programs.
        font: family and size in points.
    """

    name: str
    size: tuple[int, int]
    scale: int = 1
    theme: str = "light"
    icons: str = "Adwaita"
    style: str = "Fusion"
    font: tuple[str, int] = ("DejaVu Sans", 10)


LOOKS = (
    Look(name="small", size=(1024, 768), icons="Adwaita"),
    Look(name="dark", size=(1280, 800), theme="dark", icons="Papirus-Dark", style="Breeze", font=("Noto Sans", 10)),
    Look(name="wide", size=(1920, 1080), icons="breeze", style="Breeze", font=("Liberation Sans", 11)),
    Look(name="papirus", size=(1366, 768), icons="Papirus", font=("Noto Sans", 11)),
    Look(name="contrast", size=(1280, 1024), theme="contrast", icons="HighContrast", font=("Noto Sans", 12)),
    Look(name="elementary", size=(1600, 900), icons="elementary-xfce", style="Breeze", font=("Liberation Sans", 10)),
    Look(name="double", size=(1920, 1080), scale=2, icons="Papirus", font=("Noto Sans", 10)),
    Look(name="night", size=(1440, 900), theme="dark", icons="breeze-dark", style="Fusion", font=("DejaVu Sans", 9)),
)

_GTK_THEMES = {"light": "Adwaita", "dark": "Adwaita-dark", "contrast": "HighContrast"}
# Foreground and background of Qt's palette, in its order: WindowText, Button, Light, Midlight, Dark, Mid, Text,
# BrightText, ButtonText, Base, Window, Shadow, Highlight, HighlightedText, Link, LinkVisited, AlternateBase, NoRole,
# ToolTipBase, ToolTipText, PlaceholderText.
_DARK = (
    "eff0f1 31363b 40464c 3a4045 1b1e20 272b2e eff0f1 ffffff eff0f1 232629 31363b 000000 3daee9 eff0f1 2980b9 7f8c8d"
)
_CONTRAST = (
    "000000 ffffff ffffff ffffff 000000 000000 000000 000000 000000 ffffff ffffff 000000 000000 ffffff 0000ff 800080"
)
_PALETTES = {
    "dark": _DARK + " 31363b 000000 31363b eff0f1 80eff0",
    "contrast": _CONTRAST + " ffffff 000000 ffffff 000000 404040",
}


def environment(look: Look) -> dict[str, str]:
    """Return the variables that make programs look so."""
    gtk_theme = {"dark": "Adwaita:dark"}.get(look.theme, _GTK_THEMES[look.theme])
    return {
        "GTK_THEME": gtk_theme,
        "GTK2_RC_FILES": f"/usr/share/themes/{_GTK_THEMES[look.theme]}/gtk-2.0/gtkrc",
        "GDK_SCALE": str(look.scale),
        "GDK_DPI_SCALE": "1",
        "QT_SCALE_FACTOR": str(look.scale),
        "QT_QPA_PLATFORMTHEME": "qt5ct",
        "QT_STYLE_OVERRIDE": look.style,
    }


def write_settings(look: Look, home: Path) -> None:
    """Write the settings files of GTK 2, GTK 3, Qt 5 and KDE programs into a home folder."""
    family, points = look.font
    files = {
        ".config/gtk-3.0/settings.ini": (
            f"[Settings]\ngtk-icon-theme-name={look.icons}\ngtk-font-name={family} {points}\n"
            f"gtk-theme-name={_GTK_THEMES[look.theme]}\n"
        ),
        ".gtkrc-2.0": f'gtk-icon-theme-name="{look.icons}"\ngtk-font-name="{family} {points}"\n',
        ".config/qt5ct/qt5ct.conf": _qt5ct(look, home),
        ".config/kdeglobals": _kdeglobals(look),
    }
    if look.theme in _PALETTES:
        row = ", ".join(f"#ff{color}" for color in _PALETTES[look.theme].split())
        files[".config/qt5ct/colors.conf"] = (
            f"[ColorScheme]\nactive_colors={row}\ninactive_colors={row}\ndisabled_colors={row}\n"
        )
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")


def _qt5ct(look: Look, home: Path) -> str:
    family, points = look.font
    colors = f"color_scheme_path={home / '.config/qt5ct/colors.conf'}\ncustom_palette=true\n"
    return (
        f"[Appearance]\nicon_theme={look.icons}\nstyle={look.style}\n"
        f"{colors if look.theme in _PALETTES else ''}"
        f'[Fonts]\ngeneral="{family},{points},-1,5,50,0,0,0,0,0"\nfixed="DejaVu Sans Mono,{points},-1,5,50,0,0,0,0,0"\n'
    )


def _kdeglobals(look: Look) -> str:
    text = f"[Icons]\nTheme={look.icons}\n[KDE]\nwidgetStyle={look.style}\n"
    scheme = Path("/usr/share/color-schemes/BreezeDark.colors")
    if look.theme == "dark" and scheme.is_file():
        text += scheme.read_text(encoding="utf-8")
    return text
