"""Templates: what they may hold, and how they are filled."""

import pytest

from ccproxy_middleware.boost.plan import read_plan
from ccproxy_middleware.boost.prompt import DEFAULT_TEMPLATE, PLACEHOLDERS, Placeholder, Template

VALUES: dict[Placeholder, str] = {name: f"<{name}>" for name in PLACEHOLDERS}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{user_request}", "<user_request>"),
        ("{{{tools_text}}} {loop_count}{loop_count}", "{<tools_text>} <loop_count><loop_count>"),
    ],
)
def test_template_is_filled(template: str, filled: str) -> None:
    assert Template(template).fill(VALUES) == filled


@pytest.mark.parametrize("value", ["{x}", "{", "}}", "{user_request}", "{0!r:>{1}}"])
def test_braces_in_values_are_data(value: str) -> None:
    assert Template("a {conversation} {{b}}").fill({**VALUES, "conversation": value}) == f"a {value} {{b}}"


@pytest.mark.parametrize(
    "template",
    ["{", "}", "{}", "{0}", "{x}", "{user_request.x}", "{user_request[0]}", "{loop_count!r}", "{loop_count:d}"],
)
def test_template_that_cannot_be_filled_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"placeholder|brace|[{}]"):
        Template(template)


def test_default_template_holds_everything_and_asks_for_the_sections() -> None:
    template = Template(DEFAULT_TEMPLATE)
    assert template.placeholders == set(PLACEHOLDERS)
    for heading in ("\nSUMMARY: <", "\nANALYSIS: <", "\nGUIDANCE: <"):
        assert heading in template.fill(VALUES)


def test_planner_that_only_repeats_its_prompt_has_no_loophole() -> None:
    """A prompt in the answer must not crash the reader."""
    assert read_plan(Template(DEFAULT_TEMPLATE).fill(VALUES)).kind in ("SUMMARY", "GUIDANCE")
