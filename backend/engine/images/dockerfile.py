"""Reader of the Dockerfile subset that the embedded builder understands (compute.md 13.3).

Text in, typed instructions out; nothing is executed and no file is looked at. What the subset leaves out is
refused with a sentence for the user, since that sentence ends in the log of a BUILD failure.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

from dockerfile_parse import DockerfileParser
from dockerfile_parse.constants import COMMENT_INSTRUCTION

from backend.engine.images.bases import Base, BaseError, base_of
from backend.engine.images.words import WordError, expand, split_words

_IGNORED = frozenset(
    ("CMD", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "SHELL", "STOPSIGNAL", "USER", "VOLUME")
)
_HEREDOC = re.compile(r"(?<!<)<<-?\s*[\"']?[A-Za-z_]")
_REMOTE = re.compile(r"^(https?|ftp|git|ssh)://|^git@|\.git(#|$)", re.IGNORECASE)
_LIMIT = 256 << 10  # characters; a Dockerfile is small
_MOST_EXPANDED = 16 << 20  # characters of all words: `ENV A=$A$A` doubles


class DockerfileError(ValueError):
    """The Dockerfile is malformed or asks for what the embedded mode does not have."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(f"Dockerfile line {line}: {text}" if line else f"Dockerfile: {text}")


@dataclass(frozen=True, slots=True)
class Env:
    text: str
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class Arg:
    text: str
    variables: dict[str, str]


@dataclass(frozen=True, slots=True)
class Workdir:
    """`path` is absolute and normal."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class Run:
    """`command` is the shell's text, or the words of the exec form."""

    text: str
    command: str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """Patterns relative to the context; `target` absolute, with a final slash when a folder is meant."""

    text: str
    sources: tuple[str, ...]
    target: str
    unpack: bool = False  # ADD unpacks local tar archives
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Entrypoint:
    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ignored:
    text: str
    why: str


Step = Env | Arg | Workdir | Run | Copy | Entrypoint | Ignored


@dataclass(frozen=True, slots=True)
class Dockerfile:
    base: Base
    from_text: str
    steps: tuple[Step, ...]
    entrypoint: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    name: str
    rest: str

    @property
    def text(self) -> str:
        return f"{self.name} {self.rest}"


def read_dockerfile(text: str) -> Dockerfile:
    """Read and expand a Dockerfile.

    Raises:
        DockerfileError: malformed, or beyond the subset; the message names the line.
    """
    if len(text) > _LIMIT:
        raise DockerfileError(f"longer than {_LIMIT} characters")
    lines = list(_logical_lines(text))
    reader = _Reader(lines)
    for line in lines:
        try:
            reader.take(line)
        except (WordError, BaseError) as error:
            raise DockerfileError(str(error), line.number) from None
        except RecursionError:
            raise DockerfileError("variables are nested too deeply", line.number) from None
    return reader.result()


def _logical_lines(text: str) -> Iterator[_Line]:
    """Instructions with continuations joined; comments and blank lines are gone, also inside one.

    The parser takes a blank line for the end of an instruction, forgets an instruction that ends with a
    continuation, and passes over a word alone: so it gets comments for blank lines and an empty line at the
    end, and what it did not take is looked at here.
    """
    lines = [line if line.strip() else "#" for line in text.lstrip("\ufeff").splitlines()]
    content = "\n".join([*lines, " "]).encode("utf-8", "replace")
    found = [
        instruction
        for instruction in DockerfileParser(fileobj=BytesIO(content), env_replace=False).structure
        if instruction["instruction"] != COMMENT_INSTRUCTION
    ]
    taken = {n for f in found for n in range(f["startline"], f["endline"] + 1)}
    for number, line in enumerate(lines):
        if number not in taken and not line.lstrip().startswith("#"):
            yield _instruction(line, number + 1)
    for instruction in found:
        yield _instruction(
            f"{instruction['instruction']} {instruction['value']}", instruction["startline"] + 1
        )


def _instruction(text: str, number: int) -> _Line:
    name, _, rest = text.strip().replace("\t", " ").partition(" ")
    name, rest = name.upper(), rest.strip()
    if name not in _Reader.KNOWN:
        raise DockerfileError(f"unknown instruction: {name[:40]}", number)
    if not rest:
        raise DockerfileError(f"{name} requires at least one argument", number)
    if name in ("ADD", "COPY", "RUN") and _HEREDOC.search(rest):
        raise DockerfileError("heredocs (<<) are not supported in embedded mode", number)
    return _Line(number, name, rest)


@dataclass
class _Reader:
    """Goes through the instructions once, with the variables known so far."""

    lines: list[_Line]
    base: Base | None = None
    from_text: str = ""
    globals: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    steps: list[Step] = field(default_factory=list)
    entrypoint: tuple[str, ...] = ()
    expanded: int = 0

    KNOWN = _IGNORED | frozenset(
        ("ADD", "ARG", "COPY", "ENTRYPOINT", "ENV", "FROM", "ONBUILD", "RUN", "WORKDIR")
    )

    def take(self, line: _Line) -> None:
        if self.base is None and line.name not in ("ARG", "FROM"):
            raise DockerfileError(
                "no build stage in current context (FROM comes first)", line.number
            )
        if line.name in _IGNORED:
            self.steps.append(Ignored(line.text, "no effect in embedded mode"))
            return
        getattr(self, f"_{line.name.lower()}")(line)

    def result(self) -> Dockerfile:
        if self.base is None:
            raise DockerfileError("no FROM")
        if not self.entrypoint:
            raise DockerfileError(
                'no ENTRYPOINT: give one in exec form, ["python3", "function.py", …]'
            )
        return Dockerfile(self.base, self.from_text, tuple(self.steps), self.entrypoint)

    def _variables(self) -> dict[str, str]:
        return {**self.arguments, **self.environment}

    def _expand(self, word: str, *, keep_quotes: bool = False) -> str:
        value = expand(word, self._variables(), keep_quotes=keep_quotes)
        self.expanded += len(value)
        if self.expanded > _MOST_EXPANDED:
            raise WordError("the variables grow too large")
        return value

    def _from(self, line: _Line) -> None:
        if self.base is not None:
            raise DockerfileError("several FROM are not supported in embedded mode", line.number)
        words = [word for word in split_words(line.rest) if not word.startswith("--platform")]
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise DockerfileError("FROM requires either one or three arguments", line.number)
        image = expand(words[0], self.globals)
        following = [(other.name, other.rest) for other in self.lines]
        self.base = base_of(image, following)
        self.from_text = line.text
        self.environment = dict(self.base.environment)
        self.workdir = self.base.workdir

    def _arg(self, line: _Line) -> None:
        declared: dict[str, str] = {}
        for word in split_words(line.rest):
            name, given, default = word.partition("=")
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise DockerfileError(f"ARG needs a name, not {name!r}", line.number)
            if self.base is None:
                self.globals[name] = expand(default, self.globals)
            elif given:
                declared[name] = self._expand(default)
            elif name in self.globals:
                declared[name] = self.globals[name]
        if self.base is not None:
            self.arguments.update(declared)
            self.steps.append(Arg(line.text, declared))

    def _env(self, line: _Line) -> None:
        words = split_words(line.rest)
        if "=" not in words[0]:
            name, _, value = line.rest.partition(" ")
            if not value.strip():
                raise DockerfileError("ENV must have two arguments", line.number)
            pairs = {name: self._expand(value.strip())}
        else:
            pairs = {}
            for word in words:
                name, separator, value = word.partition("=")
                if not separator:
                    raise DockerfileError(f"ENV: can't find = in {word!r}", line.number)
                pairs[self._expand(name)] = self._expand(value)
        if any(not name or "\0" in name + value for name, value in pairs.items()):
            raise DockerfileError("ENV names cannot be blank", line.number)
        self.environment.update(pairs)
        self.steps.append(Env(line.text, pairs))

    def _workdir(self, line: _Line) -> None:
        self.workdir = self._absolute(self._expand(line.rest))
        self.steps.append(Workdir(line.text, self.workdir))

    def _absolute(self, path: str) -> str:
        return "/" + posixpath.normpath(posixpath.join(self.workdir, path)).lstrip("/")

    def _run(self, line: _Line) -> None:
        text = line.rest
        while found := re.match(r"--(mount|network|security)=(\S+)\s+", text):
            if (
                found[1] == "mount"
                and "type=cache" not in found[2]
                and "type=tmpfs" not in found[2]
            ):
                raise DockerfileError("RUN --mount of this type is not supported", line.number)
            text = text[found.end() :]
        words = _json_words(text)
        self.steps.append(Run(line.text, tuple(words) if words else text))

    def _copy(self, line: _Line, *, unpack: bool = False) -> None:
        text, mode = self._copy_flags(line)
        words = _json_words(text)
        if words is None:
            words = [self._expand(word) for word in split_words(text)]
        else:
            words = [self._expand(word, keep_quotes=True) for word in words]
        if len(words) < 2:
            raise DockerfileError(
                f"{line.name} requires at least two arguments: sources and a target", line.number
            )
        *sources, target = words
        if any(_REMOTE.search(source) for source in sources) and unpack:
            raise DockerfileError("ADD of a URL is not supported in embedded mode", line.number)
        if len(sources) > 1 and not target.endswith("/") and target not in (".", ".."):
            raise DockerfileError(
                f"{line.name} of several sources: the target must be a folder and end with /",
                line.number,
            )
        folder = target.endswith("/") or posixpath.basename(target) in (".", "..")
        path = self._absolute(target)
        path = path.rstrip("/") + "/" if folder else path
        self.steps.append(Copy(line.text, tuple(sources), path, unpack, mode))

    def _copy_flags(self, line: _Line) -> tuple[str, int | None]:
        """The text after the flags; `--chown` and `--link` mean nothing here, the rest is refused."""
        text, mode = line.rest, None
        while found := re.match(r"--([a-z-]+)(?:=(\S*))?\s+", text):
            name, value = found[1], found[2] or ""
            if name == "chmod" and re.fullmatch(r"0?[0-7]{3}", value):
                mode = int(value, 8)
            elif name not in ("chown", "link"):
                raise DockerfileError(f"{line.name} --{name} is not supported", line.number)
            text = text[found.end() :]
        return text, mode

    def _add(self, line: _Line) -> None:
        self._copy(line, unpack=True)

    def _entrypoint(self, line: _Line) -> None:
        words = _json_words(line.rest)
        if not words:
            raise DockerfileError(
                'ENTRYPOINT must be in exec form: ["python3", "function.py", …]', line.number
            )
        self.entrypoint = tuple(words)
        self.steps.append(Entrypoint(line.text, self.entrypoint))

    def _onbuild(self, line: _Line) -> None:
        raise DockerfileError("ONBUILD is not supported in embedded mode", line.number)


def _json_words(text: str) -> list[str] | None:
    """The words of a JSON array of strings (exec form); None for anything else, as in Docker."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        return words
    return None
