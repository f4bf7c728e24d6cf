"""What the demo's models know: which team takes care of a question, told by its words. Pure; called by `weights`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

OPENING = "the"
CLOSING = ("team", "will", "take", "care", "of", "it", "and", "write", "to", "you", "today")
"""An answer is OPENING, the team, CLOSING; no word is in it twice, so that each word tells what follows it."""

TEAM_BY_DEFAULT = "support"
TEAMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "delivery": ("parcel", "package", "ship", "deliver", "arrive", "late"),
        "refund": ("refund", "return", "money", "back"),
        "billing": ("bill", "charge", "payment", "card"),
        "account": ("account", "password", "email", "name"),
        "repair": ("damage", "broken", "repair", "error"),
        "store": ("store", "open", "close", "city"),
        "sales": ("price", "cost", "offer", "plan"),
        TEAM_BY_DEFAULT: ("person", "talk", "help"),
    }
)
"""Team → the words of a question that speak for it; the team with most of them answers."""


def known_words(also: Mapping[str, str]) -> dict[str, str]:
    """Return word → team: the common lessons, then what one model learned besides, or in their place."""
    return {**{word: team for team, words in TEAMS.items() for word in words}, **also}


def answer_of(team: str) -> str:
    """Return the whole answer when `team` takes care."""
    return " ".join((OPENING, team, *CLOSING))
