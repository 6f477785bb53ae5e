"""A model whose answers follow the turns of a conversation."""

from collections.abc import Callable
from typing import Any

from .scripted import Answer, Failure


def by_turn(*answers: Answer) -> Callable[[dict[str, Any]], Answer]:
    """A model that gives its n-th answer in the n-th turn, and the same one again if it is asked again."""

    def answer(body: dict[str, Any]) -> Answer:
        turn = turns_before(body)
        return answers[turn] if turn < len(answers) else Failure(400, "the test has no answer for this turn")

    return answer


def turns_before(body: dict[str, Any]) -> int:
    """How many answers of the model a request for a completion has."""
    return sum(message["role"] == "assistant" for message in body["messages"])
