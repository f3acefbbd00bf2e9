"""Typed text that runs, pays or answers once it is sent: commands, SQL, numbers of cards, scripts in addresses."""

import re

from molmo_agent.risk.commit_words import COMMIT
from molmo_agent.risk.folding import fold
from molmo_agent.risk.harmless import YES

_COMMANDS = frozenset(
    re.findall(
        r"\S+",
        """adduser ansible apt-get aws az bash bcdedit bitsadmin certutil chattr chmod chown chsh cipher crontab
    curl dd deluser dism diskpart diskutil dnf do-release-upgrade doas docker dpkg fdisk firewall-cmd flatpak
    ftp gcloud gdisk gpasswd groupdel heroku icacls iex insmod invoke-expression invoke-webrequest iptables irm
    iwr journalctl kexec killall kubectl launchctl losetup lvremove mdadm mkfs mkswap modprobe mshta msiexec
    mysql nc ncat netcat netsh nft nmap npm npx nsenter osascript pacman parted passwd pip pip3 pkexec pkill pm2
    podman poweroff powershell psql pvremove pwsh redis-cli regedit regsvr32 rm rmdir rmmod robocopy rpm rsync
    rundll32 schtasks scp sdelete sgdisk sh shred sqlite3 ssh sudo svn swapoff sysctl systemctl systemd-run
    takeown taskkill tee telnet terraform ufw umount update-grub userdel useradd usermod vercel vgremove visudo
    vssadmin wget winget wipefs wmic wsl xargs yum zsh zypper zfs zpool""",
    )
)
# Ordinary words too, so they are commands only with flags, paths or files behind them, or as the whole text.
_WORDS = frozenset(
    re.findall(
        r"\S+",
        """brew cargo choco cmd copy defaults del echo erase eval exec exit fly format gem halt helm init kill
    logout mount mv move net reboot reg ren rd sc service shutdown snap source stop su truncate unlink yarn pnpm
    at apt""",
    )
)
_ALONE = frozenset(("reboot", "shutdown", "halt", "su", "logout", "exit"))
# A word where a command may stand: at the start of a line, behind a separator, behind sudo and assignments.
_COMMAND = re.compile(
    r"(?:^|[\n;&|(`]|\$\(|\bsudo |\bxargs )[ \t]{0,9}(?:\w{1,40}=\S{0,99}[ \t]){0,4}(?:[\w.~-]{0,99}/){0,9}"
    r"([a-z][\w-]{0,40})(?:\.(?:exe|com|sh|ext[234]|ntfs|vfat|xfs|btrfs))?(?=$|[\s;&|)])",
    re.IGNORECASE,
)
_ARGUMENTS = re.compile(r"(?:^|\s)[-/~$*%]\S|\S[./\\:=]\S|^\s*[a-z]:|[;&|]", re.IGNORECASE)
# Commands that are read as words where others follow: "tee times", "nft art", "az".
_PROSE = frozenset(
    re.findall(
        r"\S+", "ansible aws az bash cipher docker ftp heroku nc nft nmap parted pip podman shred sh ssh tee vercel"
    )
)
# What runs without a command of the list at its start.
_SHELL = tuple(
    (re.compile(pattern, re.IGNORECASE), what)
    for pattern, what in (
        (
            r"\bgit\s+(?:push|reset|clean|checkout|restore|switch|rebase|branch\s+-D|filter-branch|stash|merge|commit|rm|"
            r"tag\s+-d|update-ref|gc|reflog)\b",
            "changes a repository",
        ),
        (
            r"\|\s*(?:sudo\s+)?(?:(?:ba|z|da|k|fi)?sh|python\d?|perl|ruby|node|iex|powershell|pwsh)\b",
            "runs what it gets",
        ),
        (r">{1,2}\s*(?:/dev/(?!null)\S|/etc/\S|/proc/\S|/sys/\S|~?/\.\w)", "writes to a device or a system file"),
        (r":\s*\(\s*\)\s*\{.{0,99}\}\s*;\s*:", "starts programs without end"),
        (r"\bfind\b.{0,200}\s-(?:delete|exec)\b", "deletes or runs something"),
        (r"\b(?:python\d?|perl|ruby|node|bash|z?sh|php|cmd|pwsh)\s+[-/](?:c|e|r|k)\b", "runs code"),
        (r"\$\([^)]{1,200}\)", "runs a command"),
        (
            r"\b(?:shutil\.rmtree|os\.(?:remove|system|unlink)|subprocess\.|fs\.(?:rm|unlink)|rmSync|child_process)",
            "runs code",
        ),
        (
            r"\b(?:remove|clear|stop|restart|disable|uninstall|format|reset|set|start|new)-[a-z]{4,}\s+[-\w\"'$\\]",
            "changes something",
        ),
        (r"^\s*(?:\./|\.\\|~/)\S", "runs a program"),
    )
)
_NAME = r"[\w.\"`\[\]]{1,99}"
_SQL = re.compile(
    r"\b(?:drop\s+(?:table|database|schema|index|view|user|column|trigger|function|role)\b"
    rf"|delete\s+from\s+{_NAME}|truncate\s+table\b|truncate\s+{_NAME}\s*;|update\s+{_NAME}\s+set\s+{_NAME}\s*="
    rf"|insert\s+into\s+{_NAME}\s*(?:\(|values|select)|replace\s+into\s|merge\s+into\s"
    r"|alter\s+(?:table|database|user|role|system)\b|(?:grant|revoke)\s+[\w, ]{1,80}\s(?:on|to|from)\s+\w+[;.]"
    r"|grant\s+(?:all|select|insert|update|delete)\b|revoke\s+(?:all|select|insert|update|delete)\b"
    r"|create\s+(?:or\s+replace\s+)?(?:table|user|database|role|trigger)\b|exec(?:ute)?\s+(?:sp_|xp_)\w"
    r"|db\.\w{1,60}\.(?:drop|remove|delete\w{0,9})\(|flushall\b|flushdb\b)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?<![\d.])\d(?:[ .-]?\d){11,18}(?![\d.])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", re.IGNORECASE)
_ADDRESS = re.compile(
    r"^\s*(?:view-source:)?\s*(javascript|data|vbscript|file|chrome|about|blob)\s*:(?!\s)", re.IGNORECASE
)
_HARMLESS_PAGES = re.compile(r"^\s*about:(?:blank|newtab)\s*$", re.IGNORECASE)


_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff\u00ad]")
# Longer texts are prose, or judged by the patterns.
_SHORT, _FEW_WORDS = 60, 3
_WITH_AN_ORDER = frozenset(("all", "everything", "it", "this", "now", "yes", "me", "my", "account", "and"))


def danger_of_text(text: str) -> str:
    """Return what makes typing a text risky, or an empty string. Takes time in proportion to its length."""
    plain = _INVISIBLE.sub("", text)
    line_end = "a line end in it works as Enter" if re.search(r"[\r\n\u0085\u2028\u2029]", plain) else ""
    return "; ".join(filter(None, (_danger(plain), line_end)))


def _danger(text: str) -> str:
    if match := _SQL.search(text):
        return f"{_shortened(match[0])!r} is SQL that changes data"
    if command := _command(text):
        return f"{command!r} is a shell command"
    for pattern, what in _SHELL:
        if match := pattern.search(text):
            return f"{_shortened(match[0])!r} {what}"
    if (match := _ADDRESS.match(text)) and not _HARMLESS_PAGES.match(text):
        return f"an address that begins with {match[1].lower()}: can run code or read files"
    if any(_is_card(match[0]) for match in _NUMBER.finditer(text)):
        return "it is the number of a payment card"
    if any(_is_iban(match[0]) for match in _IBAN.finditer(text)):
        return "it is the number of a bank account"
    words = fold(text).strip(" .!").split() if len(text) < _SHORT else []
    if len(words) == 1 and words[0] in YES:
        return f"{text.strip()!r} may answer a question"
    # "DELETE" confirms a deletion; a longer text is prose.
    if 0 < len(words) <= _FEW_WORDS and COMMIT.covers(text, _WITH_AN_ORDER):
        return f"{text.strip()!r} may be a command or confirm something that cannot be undone"
    return ""


def _command(text: str) -> str:
    """Return the first shell command of a text, or an empty string."""
    for match in _COMMAND.finditer(text):
        word, rest = match[1].lower(), text[match.end() : match.end() + 200].split("\n")[0]
        if word in _WORDS and (_ARGUMENTS.search(rest) or (word in _ALONE and not rest.strip())):
            return match[1]
        # In prose the word would be followed by others, and would begin with a capital letter at the start.
        if word in _COMMANDS and (word not in _PROSE or _ARGUMENTS.search(rest) or not rest.strip()):
            return match[1]
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
