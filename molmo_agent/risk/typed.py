"""Typed text that runs, pays or answers once it is sent: commands, SQL, numbers of cards, scripts in addresses."""

import re

from molmo_agent.risk.commit_words import risky_word
from molmo_agent.risk.folding import fold
from molmo_agent.risk.harmless import YES

_COMMANDS = (
    "rm rmdir unlink shred dd mkfs fdisk parted wipefs sudo doas su chmod chown chattr kill killall pkill shutdown reboot halt "
    "poweroff init systemctl service mount umount crontab at passwd useradd userdel usermod iptables ufw nft insmod rmmod "
    "modprobe eval exec source nc ncat netcat ssh scp rsync sftp ftp telnet truncate mv xargs osascript launchctl defaults "
    "diskutil reg regedit schtasks sc net netsh bcdedit diskpart format del erase rd takeown icacls cipher taskkill wmic "
    "powershell pwsh cmd mshta rundll32 regsvr32 certutil bitsadmin iwr irm iex invoke-expression invoke-webrequest "
    "remove-item clear-disk format-volume stop-computer restart-computer set-executionpolicy start-process stop-process "
    "apt apt-get dpkg yum dnf pacman zypper snap flatpak brew choco winget pip pip3 npm npx yarn pnpm gem cargo docker podman "
    "kubectl helm terraform ansible aws gcloud az heroku fly vercel svn hg psql mysql sqlite3 mongo redis-cli"
).split()
# Ordinary words too: a command only with what follows such a command.
_WORDS = frozenset("at su source service mount kill format net reg sc az fly defaults init erase snap exec halt cmd cargo "
                   "gem yarn helm choco brew truncate mv rd unlink shred del apt pip rm dd eval reboot shutdown".split())  # fmt: skip
_COMMAND = re.compile(
    r"(?:^|[\n;&|(`]|\$\(|\bsudo |\bxargs )[ \t]{0,9}(?:\w{1,40}=\S{0,99}[ \t]){0,4}(?:[\w./~-]{0,99}/)?("
    + "|".join(map(re.escape, _COMMANDS))
    + r")"
    r"(?:\.\w{1,5})?(?=$|[\s;&|)])",
    re.IGNORECASE,
)
_SHELL = (
    (re.compile(r"\bgit\s+(?:push|reset|clean|checkout|rebase|branch\s+-D|filter-branch|stash\s+(?:drop|clear)|merge|commit|rm)\b", re.I), "git"),
    (re.compile(r"\|\s*(?:sudo\s+)?(?:ba|z|da|k|fi)?sh\b|\|\s*(?:python\d?|perl|ruby|node|iex|powershell|pwsh)\b", re.I), "a pipe into a shell"),
    (re.compile(r">{1,2}\s*(?:/dev/(?!null)\S+|/etc/\S+|~?/\.\w+)", re.I), "output into a device or system file"),
    (re.compile(r":\s*\(\s*\)\s*\{.{0,200}\}\s*;\s*:|\bfind\b.{0,200}\s-(?:delete|exec)\b", re.I | re.S), "a shell command"),
    (re.compile(r"\b(?:curl|wget)\s+\S", re.I), "a download"),
    (re.compile(r"(?:\bpython\d?|\bperl|\bruby|\bnode|\bbash|\bsh|\bzsh|\bphp)\s+-(?:c|e|r)\b", re.I), "code that runs"),
    (re.compile(r"\$\([^)]{0,200}\)|`[^`\n]{1,200}`(?=\s*$)"), "a shell command"),
    (re.compile(r"\bshutil\.rmtree|\bos\.(?:remove|system|unlink)|\bsubprocess\.|\bfs\.(?:rm|unlink)|rmSync|\bSystem\.exit", re.I), "code that runs"),
    (re.compile(r"\b(?:Remove|Clear|Stop|Restart|Disable|Uninstall|Format|Reset)-[A-Z]\w+", re.I), "a PowerShell command"),
    (re.compile(r"^\s*(?:\./|\.\\|~/)[\w./\\-]+", re.M), "a program"),
)  # fmt: skip
_SQL = re.compile(
    r"\b(?:drop\s+(?:table|database|schema|index|view|user|column|trigger|function|role)|delete\s+from\s+[\w.\"`\[]+|"
    r"truncate\s+(?:table\s+)?[\w.\"`\[]+\s*(?:;|$)|truncate\s+table|update\s+[\w.\"`\[\]]+\s+set\s+\S+\s*=|"
    r"insert\s+into\s+[\w.\"`\[]+\s*(?:\(|values|select)|alter\s+(?:table|database|user|role)|grant\s+[\w, ]{1,80}\s+on\s|"
    r"revoke\s+[\w, ]{1,80}\s+on\s|replace\s+into\s|merge\s+into\s|create\s+(?:or\s+replace\s+)?(?:table|user|database|role|trigger)|"
    r"exec(?:ute)?\s+(?:sp_|xp_)\w+|db\.\w+\.(?:drop|remove|delete\w*)\(|flushall|flushdb)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\d.])\d(?:[ .-]?\d){11,18}(?![\d.])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", re.IGNORECASE)
_ADDRESS = re.compile(
    r"^\s*(?:view-source:)?\s*(javascript|data|vbscript|file|chrome|about|blob)\s*:(?!\s)", re.IGNORECASE
)
_HARMLESS_PAGES = re.compile(r"^\s*about:(?:blank|newtab)\s*$", re.IGNORECASE)


def danger_of_text(text: str) -> str:
    """Return what makes typing a text risky, or an empty string. Takes time in proportion to its length."""
    plain = re.sub(r"[\u200b-\u200f\u2060\ufeff\u00ad]", "", text)
    if "\n" in plain or "\r" in plain:
        return (
            f"{_found_in(plain)}; a line end in it works as Enter"
            if _found_in(plain)
            else "a line end in it works as Enter"
        )
    return _found_in(plain)


def _found_in(text: str) -> str:
    if match := _SQL.search(text):
        return f"{_shortened(match[0])!r} is SQL that changes data"
    if word := _command(text):
        return f"{word!r} is a shell command"
    for pattern, what in _SHELL:
        if match := pattern.search(text):
            return f"{_shortened(match[0])!r} is {what}"
    if match := _ADDRESS.match(text):
        return "" if _HARMLESS_PAGES.match(text) else f"an address that begins with {match[1].lower()}: can run code"
    if any(_is_card(match[0]) for match in _NUMBER.finditer(text)):
        return "it is the number of a payment card"
    if any(_is_iban(match[0]) for match in _IBAN.finditer(text)):
        return "it is the number of a bank account"
    words = fold(text).strip(" .!").split()
    if len(words) == 1 and words[0] in YES:
        return f"{text.strip()!r} may answer a question"
    # "DELETE" confirms a deletion; a longer text is prose.
    if 0 < len(words) <= 2 and (word := risky_word(text)):
        return f"{word!r} may be a command or confirm something that cannot be undone"
    return ""


def _command(text: str) -> str:
    for match in _COMMAND.finditer(text):
        word, rest = match[1], text[match.end() : match.end() + 200].split("\n")[0]
        # "kill time at noon", "mount rushmore" are prose; commands have flags, paths or a single word behind them.
        if word.lower() not in _WORDS or re.search(r"(?:^|\s)[-/~$*]\S|\S[./\\:=]\S|/dev|^\s*[a-z]:", rest, re.I):
            return word
        if not rest.strip() and word.islower() and word in ("reboot", "shutdown", "halt", "su", "rm", "dd"):
            return word
    return ""


def _is_card(number: str) -> bool:
    """Return whether a number has the check digit of payment cards."""
    digits = [int(sign) for sign in number if sign.isdigit()]
    if not 12 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(number: str) -> bool:
    """Return whether a number has the check digits of bank accounts; ends of other words behind it are tried off."""
    signs = re.sub(r"\s", "", number).upper()
    for end in range(len(signs), 14, -1):
        moved = signs[4:end] + signs[:4]
        if int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1:
            return True
    return False


def _shortened(text: str) -> str:
    return text.strip() if len(text) <= 40 else f"{text.strip()[:40]}..."
