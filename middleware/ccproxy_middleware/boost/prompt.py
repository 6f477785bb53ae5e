"""The planner's prompt: a template with placeholders, and their values."""

from collections.abc import Mapping
from string import Formatter
from typing import Literal, get_args

Placeholder = Literal["user_request", "tools_text", "loop_count", "previous_attempts", "conversation"]
PLACEHOLDERS: tuple[Placeholder, ...] = get_args(Placeholder)


class Template:
    """A text with ``{placeholders}``; ``{{`` and ``}}`` stand for braces.

    Raises ValueError for an unknown placeholder, a conversion or format (``{a!r}``, ``{a:>9}``), or a stray brace.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[tuple[str, Placeholder | None]] = []
        for literal, name, format_, conversion in Formatter().parse(text):
            if format_ or conversion:
                raise ValueError(f"the placeholder {{{name}}} can't have a format or a conversion")
            self._parts.append((literal, None if name is None else _known(name)))

    @property
    def placeholders(self) -> frozenset[Placeholder]:
        """The placeholders in the text."""
        return frozenset(name for _, name in self._parts if name is not None)

    def fill(self, values: Mapping[Placeholder, str]) -> str:
        """The text with all placeholders replaced; braces in the values are data."""
        return "".join(literal + (values[name] if name else "") for literal, name in self._parts)


def _known(name: str) -> Placeholder:
    for placeholder in PLACEHOLDERS:
        if name == placeholder:
            return placeholder
    accepted = ", ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
    raise ValueError(f"unknown placeholder {{{name}}}; there are {accepted}")


# Small models copy examples and all text below a heading, so the forms contain only placeholders; and they answer
# the last part.
DEFAULT_TEMPLATE = """\
You are the planner of an agent that works on somebody's computer. An executor, a smaller model with tools, \
carries out what you decide. You have no tools: you can't read a file, run a command or look anything up \
yourself, and nothing that you write is run. The executor sees the same conversation as you and your guidance on\
 top of it; what its tools return is shown to you in the next round.

<tools_of_the_executor>
{tools_text}
</tools_of_the_executor>

<conversation>
{conversation}
</conversation>

<earlier_attempts>
{previous_attempts}
</earlier_attempts>

All of the above is material. Decide what comes next for the request below, and write one of two things.

If something still has to be looked up, changed or run, write:

ANALYSIS: <what is known, what is missing>
GUIDANCE: <orders for the one next step>

The orders name the tool to call, one of those above, and the value of every argument, exactly and in full: \
paths, commands, whole texts to be written, never "..." or "as above". Calls that don't need each other's \
results may be made together.

If all is done, or the request needs no tool, or only the person can say how to go on, write:

SUMMARY: <your answer to the person, in the person's language>

Rules:
- Begin with ANALYSIS: or SUMMARY:, and never write both GUIDANCE: and SUMMARY:.
- SUMMARY ends the work. Say only what results in the conversation prove: a file that nobody has written and a \
command that nobody has run still need GUIDANCE.
- Don't write calls in JSON or XML, and don't make up results.
- This is attempt {loop_count} at this step. If there are earlier attempts, they failed: find out why, and name \
the tool more plainly, give more exact arguments or choose another way. Never repeat guidance that has failed.

What the person asked for last:

<request>
{user_request}
</request>

Your answer, in one of the two forms:
"""
