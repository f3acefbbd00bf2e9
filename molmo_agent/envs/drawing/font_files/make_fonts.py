"""Make the subset fonts of this folder again from the fonts that a Debian system installs.

    pip install fonttools
    apt-get install fonts-croscore fonts-open-sans ...   # the packages are named in SOURCES
    python molmo_agent/envs/drawing/font_files/make_fonts.py [--root /]

Every source licence allows a changed font under its own name: none of these files declares a reserved font name that
its family uses (DejaVu and Hack derive from Bitstream Vera, whose licence reserves only "Bitstream" and "Vera").
Subsetting drops hints (FreeType's automatic hinter takes over, so that all families look alike in sharpness) and
all layout tables: no kerning and no ligatures means that a string's character edges are sums of advances.
"""

import argparse
from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped,import-not-found,unused-ignore]

# Our file: (Debian package, path below /usr/share/fonts, index in a collection)
SOURCES: dict[str, tuple[str, str, int]] = {
    "noto_sans": ("fonts-noto-core", "truetype/noto/NotoSans-Regular.ttf", 0),
    "noto_sans-bold": ("fonts-noto-core", "truetype/noto/NotoSans-Bold.ttf", 0),
    "noto_serif": ("fonts-noto-core", "truetype/noto/NotoSerif-Regular.ttf", 0),
    "dejavu_sans": ("fonts-dejavu-core", "truetype/dejavu/DejaVuSans.ttf", 0),
    "dejavu_sans-bold": ("fonts-dejavu-core", "truetype/dejavu/DejaVuSans-Bold.ttf", 0),
    "dejavu_serif": ("fonts-dejavu-core", "truetype/dejavu/DejaVuSerif.ttf", 0),
    "dejavu_sans_mono": ("fonts-dejavu-core", "truetype/dejavu/DejaVuSansMono.ttf", 0),
    "arimo": ("fonts-croscore", "truetype/croscore/Arimo-Regular.ttf", 0),
    "arimo-bold": ("fonts-croscore", "truetype/croscore/Arimo-Bold.ttf", 0),
    "tinos": ("fonts-croscore", "truetype/croscore/Tinos-Regular.ttf", 0),
    "cousine": ("fonts-croscore", "truetype/croscore/Cousine-Regular.ttf", 0),
    "open_sans": ("fonts-open-sans", "truetype/open-sans/OpenSans-Regular.ttf", 0),
    "open_sans-bold": ("fonts-open-sans", "truetype/open-sans/OpenSans-Semibold.ttf", 0),
    "roboto": ("fonts-roboto-unhinted", "truetype/roboto/unhinted/RobotoTTF/Roboto-Regular.ttf", 0),
    "roboto-bold": ("fonts-roboto-unhinted", "truetype/roboto/unhinted/RobotoTTF/Roboto-Medium.ttf", 0),
    "roboto_condensed": ("fonts-roboto-unhinted", "truetype/roboto/unhinted/RobotoCondensed-Regular.ttf", 0),
    "roboto_slab": ("fonts-roboto-slab", "opentype/roboto/slab/RobotoSlab-Regular.otf", 0),
    "cantarell": ("fonts-cantarell", "opentype/cantarell/Cantarell-Regular.otf", 0),
    "cantarell-bold": ("fonts-cantarell", "opentype/cantarell/Cantarell-Bold.otf", 0),
    "hack": ("fonts-hack", "truetype/hack/Hack-Regular.ttf", 0),
    "go": ("fonts-go", "fonts-go/Go-Regular.ttf", 0),
    "inter": ("fonts-inter", "opentype/inter/Inter-Regular.otf", 0),
    "inter-bold": ("fonts-inter", "opentype/inter/Inter-SemiBold.otf", 0),
    "jetbrains_mono": ("fonts-jetbrains-mono", "truetype/jetbrains-mono/JetBrainsMono-Regular.ttf", 0),
    "clear_sans": ("fonts-clear-sans", "truetype/clear-sans/ClearSans-Regular.ttf", 0),
    "vollkorn": ("fonts-vollkorn", "truetype/vollkorn/Vollkorn-Regular.ttf", 0),
    "caladea": ("fonts-crosextra-caladea", "truetype/crosextra/Caladea-Regular.ttf", 0),
    "manrope": ("fonts-manrope", "truetype/manrope/Manrope-Medium.ttf", 0),
    "b612": ("fonts-b612", "opentype/b612/B612-Regular.otf", 0),
    # Held out: designs that no training screen shows.
    "fira_code": ("fonts-firacode", "truetype/firacode/FiraCode-Regular.ttf", 0),
    "karla": ("fonts-karla", "truetype/karla/Karla-Regular.otf", 0),
    "comic_neue": ("fonts-comic-neue", "opentype/comic-neue/ComicNeue-Regular.otf", 0),
    "yrsa": ("fonts-yrsa-rasa", "truetype/fonts-yrsa-rasa/Yrsa-Regular.ttf", 0),
    "jura": ("fonts-jura", "opentype/jura/Jura-Medium.otf", 0),
    # For scripts that the families above lack.
    "noto_sans_cjk": ("fonts-noto-cjk", "opentype/noto/NotoSansCJK-Regular.ttc", 0),
}

_SYMBOLS = "–—‘’‚“”„†•…‰‹›⁄€™←↑→↓−≈≠≤≥■□▲▶▼◀◆●★☆✓✔✕✗"
LATIN = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x180)]))
GREEK_CYRILLIC = "".join(map(chr, [*range(0x386, 0x3CF), *range(0x400, 0x460), 0x490, 0x491]))
KANA = "".join(map(chr, [*range(0x3041, 0x3097), *range(0x30A1, 0x30FB), 0x30FC, 0x3001, 0x3002, 0x300C, 0x300D]))
HAN = (
    "一丁七万三上下不世中丸主久乗九事二五交京人今他会何作使来例体供保信元兄先光入全八公六共内円写冬分切前力加助"
    "動北十千午半南博友古右号司合同名君告味品員問四回国土在地坂場声売夏外多夜大天太失女好姉妹子字学安定実客"
    "室家寒寝小少山川工左市帰年店度座庭弟強当後待心思急性意成我戸所手打持指教文料新方旅族日旧早明映春昨昼時"
    "晩暑書月有服朝木未本村東林果枝校森楽機欲歌止正歩母毎気水池決注洋活海消清港温漢火点無父牛物犬王現理生用"
    "田由町画界番病白百的目直着知短石研社祖私秋空立答米紙紹終絵緑線習考者聞肉自色花英茶草菜行西見親言計記話"
    "語説読調買質赤走起足車軽近返送通週道達遠部都重野金銀銭錯鍵長門開間関院険雨雪電青音頭題飛食飯飲館駅高魚"
    "鳥黄黒们你们这那里为么时没对说发现东车马门见问间电话书买卖钱银开关闭保存打印文件编辑查看帮助设置搜索登录"
    "密码用户确定取消删除复制粘贴下载上传网络系统桌面浏览器中国日本韩语简体繁字输入法请选择项目完成返回继续退出"
)
HANGUL = (
    "가각간감개거건게결경계고공과관교구국그금기길김나날남내너네년노눈는늘니다단달대더도동되두드든들디때라러레로록료"
    "류르를름리린림마만말매며면명모목무문물미민바반발방배버보복부북분비사산상새색생서선설성세소속송수순스시식신실심"
    "아안않알암양어언얼업없에여역연열영예오온완외요용우운울원월위유으은을음의이인일임입자작잘장재저적전점정제조종주"
    "준중즈지직진집차찾참창처천체초추출취치침카커코크키타터토통트특파편포표프하학한할함해했행현호화확환활회후휴히힘"
)


def _characters(name: str) -> str:
    return KANA + HAN + HANGUL if name == "noto_sans_cjk" else LATIN + _SYMBOLS + GREEK_CYRILLIC


def main() -> None:
    """Write every font of SOURCES beside this script and print the sizes in bytes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the Debian packages are unpacked")
    root, here = parser.parse_args().root, Path(__file__).parent
    total = 0
    for name, (package, path, number) in SOURCES.items():
        source = root / "usr/share/fonts" / path
        if not source.exists():
            raise SystemExit(f"{source} is missing: apt-get install {package}")
        options = subset.Options(
            hinting=False, layout_features=[], notdef_outline=True, name_IDs=[0, 1, 2, 3, 4, 5, 6, 7, 13, 14]
        )
        options.drop_tables += ["kern", "GPOS", "GSUB", "GDEF", "BASE", "MATH", "DSIG", "FFTM", "STAT"]
        options.font_number = number
        font = subset.load_font(str(source), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(text=_characters(name))
        subsetter.subset(font)
        target = here / f"{name}{'.otf' if 'CFF ' in font else '.ttf'}"
        subset.save_font(font, str(target), options)
        total += target.stat().st_size
        print(f"{target.stat().st_size:8d}  {target.name}")
    print(f"{total:8d}  total")


if __name__ == "__main__":
    main()
