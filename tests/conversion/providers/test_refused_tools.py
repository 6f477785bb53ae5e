"""Refusals of tools: of a choice, a description, a name, an id, in the providers' own words."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.providers.learned import LearnedProfiles
from support.providers.refusals import MODEL, Case, convert, find, find_whole

SCHEMA = {"type": "object", "properties": {}}
TOOL = {"name": "Bash", "description": "Run a command. " * 200, "input_schema": SCHEMA}
READ = {"name": "Read", "description": "Read a file.", "input_schema": SCHEMA}
TOOLS = {"tools": [READ, TOOL], "system": "Be brief."}
NAMED = {**TOOLS, "tool_choice": {"type": "tool", "name": "Bash"}}
FORCED = {**TOOLS, "tool_choice": {"type": "any"}}
LONG_NAME = {"tools": [{**READ, "name": "n" * 60}]}
CALLED = {
    "messages": [
        {"role": "user", "content": "ls"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a"}]},
    ],
    **TOOLS,
}
AS_WORD = {"tool_choice_object": False}
AUTO = {"forced_tool_choice": False}


def too_long(limit: int) -> str:
    return (
        f"Invalid 'tools[1].function.description': string too long. Expected a string with maximum length {limit}, but "
        "got a string with length 3000 instead."
    )


CASES = [
    Case("lm-studio", "lmstudio-ai/lmstudio-bug-tracker#670",
         {"error": "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"}, AS_WORD,
         NAMED),
    Case("pydantic", "", "tool_choice: Input should be 'none', 'auto' or 'required'; tool_choice must be a string",
         AS_WORD, NAMED),
    Case("rust", "", "Failed to deserialize: tool_choice: invalid type: map, expected a string", AS_WORD, NAMED),
    Case("go", "", "json: cannot unmarshal object into Go struct field ChatRequest.tool_choice of type string", AS_WORD,
         NAMED),
    Case("zai", "vectorize-io/hindsight#4246", "Tool choice must be auto", AUTO, FORCED),
    Case("zai-named", "vectorize-io/hindsight#4246", "Tool choice must be auto", AUTO, NAMED),
    Case("only-auto", "", "tool_choice only supports 'auto'", AUTO, FORCED),
    Case("required", "", "tool_choice 'required' is not supported", AUTO, FORCED),
    Case("description", "getsentry/sentry-mcp#106", too_long(1024), {"tool_description_max": 1024}, TOOLS, "azure"),
    Case("description-other", "", too_long(512), {"tool_description_max": 512}, TOOLS),
    Case("description-pydantic", "", "tools.1.custom.description: String should have at most 1024 characters",
         {"tool_description_max": 1024}, TOOLS),
    Case("description-words", "", "The tool description exceeds the maximum length of 2048 characters",
         {"tool_description_max": 2048}, TOOLS),
    Case("name", "mrexodia/ida-pro-mcp#129",
         "Invalid 'tools[43].function.name': string too long. Expected a string with maximum length 40, but got a "
         "string with length 60 instead.", {"tool_name_max": 40}, LONG_NAME),
    Case("id", "jackmpcollins/magentic#276",
         "Tool call id was 38f04d9ea185424a8dc6ed9a88da5 but must be a-z, A-Z, 0-9, with a length of 9.",
         {"tool_id": "mistral9"}, CALLED),
    Case("id-server", "jundot/omlx#1997",
         "Tool call id was call_49c89af0 but must be a-z, A-Z, 0-9, with a length of 9", {"tool_id": "mistral9"},
         CALLED, status=500),
    Case("result-name", "",
         "* GenerateContentRequest.contents[2].parts[0].function_response.name: Name cannot be empty.",
         {"tool_result_name": True}, CALLED),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tools_get_the_form_that_the_provider_takes(case: Case) -> None:
    correction = find_whole(case)
    assert correction == case.patch
    assert correction.lasting
    changed = LearnedProfiles(case.profile).get(MODEL, case.patch)
    assert convert(case, changed) != convert(case, case.profile)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_words_teach_nothing_when_the_request_has_nothing_of_the_kind(case: Case) -> None:
    assert find(Case(case.name, "", case.body, {}, status=case.status)) is None


@pytest.mark.parametrize(
    "words",
    [
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "Invalid 'tools[0].function.parameters.properties.a.description': string too long. Expected a string with "
        "maximum length 1024, but got a string with length 2000 instead.",
        too_long(100_000),
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 200",
        "No endpoints found that support tool use.",
        "registry.ollama.ai/library/gemma:2b does not support tools",
        "The tool description is fine, the 3000 characters of the prompt are not",
    ],
)
@pytest.mark.parametrize("request_", [TOOLS, FORCED, CALLED], ids=["tools", "forced", "called"])
def test_other_words_change_no_tool(words: str, request_: Any) -> None:
    assert find(Case("other", "", words, {}, request_)) is None


def test_forced_tool_is_offered_alone_where_its_name_is_not_taken() -> None:
    case = Case("", "", "", {}, NAMED, options=AS_WORD)
    body = convert(case, case.profile)
    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["Bash"]
    case = Case("", "", "", {}, FORCED, options=AS_WORD)
    assert len(convert(case, case.profile)["tools"]) == 2


def test_rest_of_a_long_description_stands_in_the_system_prompt() -> None:
    case = Case("", "", "", {}, TOOLS, options={"tool_description_max": 1024})
    body = convert(case, case.profile)
    short, cut = (tool["function"]["description"] for tool in body["tools"])
    assert short == "Read a file."
    assert len(cut) == 1024
    start, _, note = cut.partition("... (")
    assert note
    system: str = body["messages"][0]["content"]
    head, name, rest = system.partition("\n\nThe rest of the description of the tool Bash:\n")
    assert (head, start + rest) == ("Be brief.", TOOL["description"])
    assert name
