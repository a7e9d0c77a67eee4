"""The guides as a reader follows them: what a page asks to type, to write into files, and what it says is then seen.

A page's fenced blocks are taken in order. `sh` holds commands, a line each, where a backslash goes on in the next; WORDS in
capitals are the reader's to fill in, `# by hand` marks what is the reader's alone, and `# exit code 1` what ends with that code.
`yaml` and `python` hold files, whose first line names them. `text` after `sh` is what the commands show, in part: `…` stands for
anything, and a number of more than one digit for any such.
"""

import re
import shlex
import string
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from command import REPOSITORY

from fly64_hpc.__main__ import VERBS

BY_HAND = "# by hand"
FAILS = "# exit code 1"
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "batch" / "profiles" / "README.md")
_NUMBER = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b|\d[\d.,:e+-]*\d")
_MARK = "@@ command"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the heading of the second level that it stands under."""

    section: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its command lines."""
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]

    @property
    def file_name(self) -> str:
        """The file that a block is: its first line is a comment that begins with the name."""
        return self.text.split(maxsplit=2)[1].rstrip(":,")


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    sections = zip(["", *parts[1::2]], parts[::2], strict=True)
    return [
        Block(section, language, text)
        for section, words in sections
        for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", words, re.DOTALL | re.MULTILINE)
    ]


def files_of(page: Path) -> dict[str, str]:
    """Name to text, of the files that a page has the reader write."""
    return {block.file_name: block.text for block in blocks(page) if block.language in ("yaml", "python")}


def fly64_commands(page: Path) -> Iterator[list[str]]:
    """Every command of this program that a page names, in a block or in a sentence (there also as `submit --json`)."""
    variables: dict[str, str] = {}
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if assigned := re.fullmatch(r'\s*(\w+)="(.*)"', line):
            variables[assigned[1]] = assigned[2]
        for code in (line.strip(), *re.findall(r"`([^`]+)`", line)):
            words = re.sub(rf"^({'|'.join(VERBS)}) (?=--)", r"python -m fly64_hpc.\1 ", code)
            if re.match(r"python -m fly64_hpc\.\w+", words):
                yield shlex.split(string.Template(words).safe_substitute(variables), comments=True)


def filled_in(command: str, words: Mapping[str, str]) -> str:
    """A command with the reader's own words in place of those in capitals."""
    return re.sub(r"\b[A-Z]+(?:_[A-Z]+)*\b", lambda match: words.get(match[0], match[0]), command)


def typed(commands: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float) -> list[str]:
    """Type commands one after the other into one shell, up to the first that ends otherwise than it should; what each showed."""
    script = "set -e\n" + "".join(f"echo '{_MARK}'\n{_expecting(command)}\n" for command in commands)
    answer = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    shown = answer.stdout.split(f"{_MARK}\n")[1:]
    assert answer.returncode == 0, f"{commands[len(shown) - 1]}\n{shown[-1]}"
    return shown


def _expecting(command: str) -> str:
    """A command that ends with exit code 0 where it ends as it should."""
    return f"code=0; {command.removesuffix(FAILS)} || code=$?; [ $code -eq 1 ]" if command.endswith(FAILS) else command


def unseen(excerpt: str, shown: str) -> Iterator[str]:
    """The lines of an excerpt that were not shown."""
    lines = [_masked(line) for line in shown.splitlines()]
    for line in excerpt.splitlines():
        pattern = ".*".join(re.escape(part) for part in _masked(line).split("…"))
        if not any(re.fullmatch(pattern, one) for one in lines):
            yield line


def _masked(line: str) -> str:
    """A line with its numbers of more than one digit and the width of its columns taken out."""
    return " ".join(_NUMBER.sub("0", line).split())


def write_files(page: Path, folder: Path) -> None:
    """The files that a page has the reader write."""
    for name, text in files_of(page).items():
        (folder / name).write_text(text)


def follow(
    page: Path, sections: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float, words: Mapping[str, str]
) -> None:
    """Type what some sections of a page ask for, in order, and hold the page to what it says is then seen."""
    chosen = [block for block in blocks(page) if block.section in sections]
    assert {block.section for block in chosen} == set(sections)
    commands = [(block, filled_in(line, words)) for block in chosen for line in block.commands if block.language == "sh"]
    tried = [(block, line) for block, line in commands if BY_HAND not in line]
    shown = typed([line for _, line in tried], folder, environment, timeout_s)
    for block, excerpt in pairwise(chosen):
        if excerpt.language == "text":
            seen = "".join(text for (asked, _), text in zip(tried, shown, strict=True) if asked is block)
            assert not list(unseen(excerpt.text, seen)), seen
