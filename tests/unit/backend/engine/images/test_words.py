"""Expansion as Docker's lexer does it."""

import pytest

from backend.engine.images.words import WordError, expand, split_words

VARIABLES = {"A": "1", "EMPTY": "", "LONG": "a b"}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("$A/${A}x$Ax", "1/1x"),
        ("${NONE:-d}${EMPTY:-e}${EMPTY-f}", "de"),
        ("${A:+yes}${EMPTY:+no}${EMPTY+there}", "yesthere"),
        ("${NONE:-$A-${A}}", "1-1"),
        ("'$A'", "$A"),
        ('"$LONG"', "a b"),
        (r"\$A \"", '$A "'),
        (r'"\$A \n"', r"$A \n"),
        ("$", "$"),
        ("a$", "a$"),
        ("trailing\\", "trailing\\"),
    ],
)
def test_expansion(word: str, value: str) -> None:
    assert expand(word, VARIABLES) == value


def test_quotes_may_be_kept() -> None:
    assert expand("'$A' \"$A\"", VARIABLES, keep_quotes=True) == "'$A' \"1\""


@pytest.mark.parametrize("word", ["'a", '"a', "${A", "${A/b/c}", "${}", "${NONE:?x}"])
def test_malformed_words_are_refused(word: str) -> None:
    with pytest.raises(WordError):
        expand(word, VARIABLES)


def test_splitting_keeps_quotes_and_escapes() -> None:
    assert split_words(r"""a="b c"  d\ e 'f g'	h""") == ['a="b c"', r"d\ e", "'f g'", "h"]
