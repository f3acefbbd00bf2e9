"""The meanings of icons that commit to something, and of those that only show, move, open or format something."""

# Meanings of molmo_agent/pointers/icons/vocabulary.json.
COMMIT_ICONS = frozenset(
    (
        *(
            "trash",
            "send",
            "send-receive",
            "share",
            "eject",
            "replace",
            "process-stop",
            "run",
            "print",
            "logout",
            "power",
        ),
        *("suspend", "lock", "unlock", "phone", "call-end", "disconnect", "git-merge", "git-commit", "credit-card"),
        *("thumb-up", "thumb-down"),
    )
)
HARMLESS_ICONS = frozenset(
    (
        *("search", "zoom-in", "zoom-out", "zoom-original", "gear", "wrench", "sliders", "menu", "kebab", "meatballs"),
        *("arrow-left", "arrow-right", "arrow-up", "arrow-down", "chevron-left", "chevron-right", "chevron-up"),
        *("chevron-down", "chevrons-left", "chevrons-right", "chevrons-up", "chevrons-down", "go-top", "go-bottom"),
        *("go-jump", "go-parent", "sidebar", "sidebar-right", "panel-bottom", "grid", "list", "columns", "sort-asc"),
        *("sort-desc", "filter", "refresh", "undo", "redo", "copy", "info", "help", "bold", "italic", "underline"),
        *("align-left", "align-center", "align-right", "play", "pause", "volume", "mute", "music", "skip-next"),
        *("skip-previous", "fast-forward", "rewind", "fullscreen", "fullscreen-exit", "minimize", "maximize", "open"),
        *("folder", "star", "bookmark", "bell", "inbox", "clock", "history", "calendar", "map", "pin-location", "eye"),
        *("book", "tab-new", "window-new", "file-new", "news", "image", "address-book", "calculator", "shopping-cart"),
    )
)
# What an icon may be asked for by name without a question: it shows, formats, or inserts something that can be undone.
ASKED_ICONS = HARMLESS_ICONS | frozenset(
    (
        *("plus", "plus-circle", "plus-square", "minus", "minus-square", "save", "save-as", "save-all", "folder-home"),
        *(
            "folder-new",
            "file",
            "cut",
            "paste",
            "clipboard-check",
            "list-numbered",
            "list-check",
            "table",
            "chevron-select",
        ),
        *("updown", "leftright", "flip-vertical", "move", "drag", "hand", "cursor", "external-link", "link"),
        *("print-preview", "page-setup", "check-all", "checkbox", "select-all", "edit", "brush", "bucket"),
        *("eyedropper", "palette", "crop", "rotate-right", "rotate-left", "strikethrough", "justify", "indent"),
        *("outdent", "text", "font", "match-case", "regex", "superscript", "subscript", "heading", "quote", "code"),
        *("braces", "headphones", "shuffle", "repeat", "bookmark-new", "timer", "globe", "translate", "pin", "tag"),
        *("layers", "sun", "moon", "contrast", "bulb", "chart-bar", "chart-line", "chart-pie", "gauge", "dashboard"),
        *("ruler", "tree", "spell-check", "percent", "sum", "accessibility", "window", "rows", "wrap", "pilcrow"),
        *("page-portrait", "page-landscape", "shape-circle", "shape-square", "shape-line", "shape-polygon", "lasso"),
        *("select-rect", "node-edit", "newline", "window-stack"),
    )
)
