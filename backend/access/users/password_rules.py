"""Which passwords people may choose (rest-api.md 4): pure rules. Provisioned passwords are not asked.

The strength meter's dictionaries take some megabytes, so they are loaded at the first question.
"""

import re
from difflib import SequenceMatcher

LONGEST = 64
WEAKEST_SCORE = 3  # of zxcvbn's 0 to 4
SIMILAR = 0.7


def broken_rules(password: str, username: str, shortest: int) -> list[str]:
    """What is wrong with a password, in sentences for its chooser; nothing when it is good."""
    messages = []
    if len(password) < shortest:
        messages.append(
            f"This password is too short. It must contain at least {shortest} characters."
        )
    if len(password) > LONGEST:  # and the meter, whose time grows with the length, is not asked
        return [f"This password is too long. It must contain at most {LONGEST} characters."]
    if _is_similar(password.lower(), username.lower()):
        messages.append("The password is too similar to the username.")
    if _is_common(password):
        messages.append("This password is too common.")
    if password.isdigit():
        messages.append("This password is entirely numeric.")
    if password and (weakness := _weakness(password, username)):
        messages.append(weakness)
    return messages


def _is_similar(password: str, username: str) -> bool:
    """Whether it resembles the name or one of its words."""
    words = {username, *re.split(r"\W+", username)} - {""}
    return any(
        len(word) * 10 >= len(password) and SequenceMatcher(a=password, b=word).ratio() >= SIMILAR
        for word in words
    )


def _is_common(password: str) -> bool:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return password.lower() in FREQUENCY_LISTS["passwords"]


def _weakness(password: str, username: str) -> str | None:
    from zxcvbn import zxcvbn

    found = zxcvbn(password, user_inputs=[username])
    if found["score"] >= WEAKEST_SCORE:
        return None
    feedback = found["feedback"]
    hints = [feedback["warning"], *feedback["suggestions"]]
    return " ".join(["This password is too easy to guess.", *(hint for hint in hints if hint)])
