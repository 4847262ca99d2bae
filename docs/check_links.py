"""Every relative link in the documents leads to a file, and every anchor to a heading.

`python docs/check_links.py` prints the broken ones and exits 1. Links to other hosts are not followed:
the check runs without a network.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)


def documents() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[!.]*/*.md")])


def anchors(document: Path) -> set[str]:
    """The names by which headings can be linked: lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ +(.+?) *$", document.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(document: Path) -> list[str]:
    """The link targets of one document that lead nowhere."""
    wrong = []
    for match in LINK.finditer(CODE.sub("", document.read_text("utf-8"))):
        target = match.group(1) or match.group(2)
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            wrong.append(target)
    return wrong


def main() -> int:
    wrong = [
        f"{document.relative_to(ROOT)}: {target}"
        for document in documents()
        for target in broken(document)
    ]
    for line in wrong:
        sys.stderr.write(f"broken link in {line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
