"""Words of a Dockerfile: splitting a line, and `$VAR` / `${VAR}` expansion, as Docker's own lexer does it."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*|[0-9])(?P<operator>:?[-+?])?", re.ASCII)


_LONGEST = 128 << 10  # what one variable or argument of a process may hold


class WordError(ValueError):
    """A word cannot be read: an unfinished quote, an unknown `${…}` form."""


def split_words(text: str) -> list[str]:
    """Raw words separated by blanks; quotes and escapes keep blanks inside and stay in the words."""
    words: list[str] = []
    current: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'" and position + 1 < len(text):
            current.append(text[position : position + 2])
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in " \t":
            if current:
                words.append("".join(current))
            current = []
            position += 1
            continue
        current.append(character)
        position += 1
    if current:
        words.append("".join(current))
    return words


def expand(word: str, variables: Mapping[str, str], *, keep_quotes: bool = False) -> str:
    """Replace variables and (unless `keep_quotes`) take quotes and escapes away.

    An undefined variable is empty, as in Docker.

    Raises:
        WordError: a quote or brace is not closed, or the form in `${…}` is unknown.
    """
    return _Expansion(word, variables, keep_quotes).result()


class _Expansion:
    def __init__(self, text: str, variables: Mapping[str, str], keep_quotes: bool) -> None:
        self._text = text
        self._variables = variables
        self._keep = keep_quotes
        self._at = 0
        self._out: list[str] = []
        self._length = 0

    def result(self) -> str:
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "'":
                self._single()
            elif character == '"':
                self._double()
            elif character == "\\":
                self._escaped("")
            elif character == "$":
                self._insert(self._variable())
            else:
                self._out.append(character)
                self._at += 1
        return "".join(self._out)

    def _insert(self, value: str) -> None:
        self._out.append(value)
        self._length += len(value)
        if self._length > _LONGEST:
            raise WordError("a value is too long")

    def _mark(self, quote: str) -> None:
        if self._keep:
            self._out.append(quote)

    def _single(self) -> None:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise WordError("unexpected end of statement while looking for a matching single quote")
        self._mark("'")
        self._out.append(self._text[self._at + 1 : end])
        self._mark("'")
        self._at = end + 1

    def _double(self) -> None:
        self._mark('"')
        self._at += 1
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == '"':
                self._mark('"')
                self._at += 1
                return
            if character == "\\":
                self._escaped('"$\\')
            elif character == "$":
                self._insert(self._variable())
            else:
                self._out.append(character)
                self._at += 1
        raise WordError("unexpected end of statement while looking for a matching double quote")

    def _escaped(self, only: str) -> None:
        """A backslash takes the special meaning of the next character (in double quotes: of some)."""
        following = self._text[self._at + 1 : self._at + 2]
        if self._keep or (only and following not in only) or not following:
            self._out.append("\\")
        self._out.append(following)
        self._at += 2

    def _variable(self) -> str:
        text = self._text
        if text.startswith("${", self._at):
            return self._braced()
        found = _NAME.match(text, self._at + 1)
        if found is None:
            self._at += 1
            return "$"
        self._at = found.end()
        return self._variables.get(found.group(), "")

    def _braced(self) -> str:
        end = self._closing_brace()
        inner = self._text[self._at + 2 : end]
        self._at = end + 1
        found = _BRACED.match(inner)
        if found is None or (found["operator"] is None and found.end() != len(inner)):
            raise WordError(f"unsupported form ${{{inner}}}")
        value = self._variables.get(found["name"])
        given = value is not None and not (
            value == "" and (found["operator"] or "").startswith(":")
        )
        operator = (found["operator"] or "").lstrip(":")
        alternative = inner[found.end() :]
        if operator == "-" and not given:
            return expand(alternative, self._variables)
        if operator == "+":
            return expand(alternative, self._variables) if given else ""
        if operator == "?" and not given:
            raise WordError(f"{found['name']}: {alternative or 'not set'}")
        return value or ""

    def _closing_brace(self) -> int:
        depth = 0
        for position in range(self._at + 1, len(self._text)):
            if self._text[position] == "{":
                depth += 1
            elif self._text[position] == "}":
                depth -= 1
                if depth == 0:
                    return position
        raise WordError("syntax error: missing '}'")
