"""Members set and taken out in the text of a JSON object, whatever its form."""

import json
from typing import Any

import pytest

from ccproxy.command_line.claude import set_in

LINES = '{\n  "theme": "dark",\n  "env": {\n    "A": "1"\n  },\n  "z": [1, {"b": 2}]\n}\n'
TABS = LINES.replace("  ", "\t")
FORMS = {
    "lines": LINES,
    "tabs": TABS,
    "four": LINES.replace("  ", "    "),
    "crlf": LINES.replace("\n", "\r\n"),
    "one line": json.dumps(json.loads(LINES)),
    "compact": json.dumps(json.loads(LINES), separators=(",", ":")),
    "bom": f"\ufeff{LINES}",
    "empty env": LINES.replace('{\n    "A": "1"\n  }', "{}"),
    "no env": '{\n  "theme": "dark"\n}',
    "empty": "{}",
    "empty in lines": "{\n}\n",
    "text in values": '{"a": "}, \\"env\\": {", "env": {"A": "\\u00e9{\\"x\\": 1}"}}',
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("values", [{"A": "2"}, {"B": "ü\n"}, {"A": "2", "B": "3", "C": "4"}, {"A": None}, {}])
def test_members_are_set_and_all_else_is_kept(text: str, values: dict[str, Any]) -> None:
    before = json.loads(text.removeprefix("\ufeff"))
    after = set_in(text, values, inside="env")
    expected = dict(before)
    env = {**before.get("env", {}), **values}
    expected["env"] = {key: value for key, value in env.items() if value is not None}
    if not expected["env"] and (values or "env" not in before):
        del expected["env"]
    got = json.loads(after.removeprefix("\ufeff"))
    got.setdefault("env", {})
    expected.setdefault("env", {})
    assert got == expected
    assert after.startswith("\ufeff") is text.startswith("\ufeff")
    assert ("\r\n" in after) is ("\r\n" in text)


@pytest.mark.parametrize(
    "text", [form for form in FORMS.values() if form not in (FORMS["empty in lines"], FORMS["empty env"])]
)
def test_taking_out_what_was_added_gives_the_text_back(text: str) -> None:
    values = {"NEW": "1", "NEWER": "2"}
    added = set_in(text, values, inside="env")
    assert set_in(added, dict.fromkeys(values), inside="env") == text


def test_new_members_stand_in_lines_like_their_neighbours() -> None:
    assert set_in(LINES, {"B": "2"}, inside="env") == LINES.replace('"A": "1"', '"A": "1",\n    "B": "2"')
    assert set_in(TABS, {"B": "2"}, inside="env") == TABS.replace('"A": "1"', '"A": "1",\n\t\t"B": "2"')
    assert set_in('{\n    "a": 1\n}\n', {"B": "2"}, inside="env") == (
        '{\n    "a": 1,\n    "env": {\n        "B": "2"\n    }\n}\n'
    )
    assert set_in("{}", {"model": "opus"}) == '{\n  "model": "opus"\n}'


def test_last_of_two_members_with_one_name_is_set() -> None:
    assert set_in('{"a": 1, "a": 2}', {"a": 3}) == '{"a": 1, "a": 3}'


@pytest.mark.parametrize("text", ["[1]", '"x"', ""])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        set_in(text, {"A": "1"})
