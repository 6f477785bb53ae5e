"""Refusals of a message's content, role or place, and of calls in the history, in the providers' own words."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.messages import FIRST_USER
from ccproxy_middleware.conversion.providers.learned import LearnedProfiles
from ccproxy_middleware.toolkit.errors import ApiError
from support.providers.refusals import MODEL, Case, convert, find, find_whole

TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
TEXTS = {"messages": [{"role": "user", "content": [TEXT, {"type": "text", "text": "b"}]}]}
PICTURE = {"messages": [{"role": "user", "content": [IMAGE, TEXT]}]}
STRING = {"text_parts": "string"}
NO_PARTS = {"content_parts": False}

USE = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a.txt"}
TOOL = {"name": "Bash", "description": "Run it.", "input_schema": {"type": "object", "properties": {}}}
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "ls"},
    {"role": "assistant", "content": [{"type": "text", "text": "I look."}, USE]},
    {"role": "user", "content": [RESULT, {"type": "text", "text": "Summarize."}]},
]
NO_TOOLS = {"messages": HISTORY}
OTHER_TOOL = {"messages": HISTORY, "tools": [{**TOOL, "name": "Read"}]}
CALLS_FIRST = {"messages": [HISTORY[1], {"role": "user", "content": [RESULT]}], "tools": [TOOL], "system": "s"}
LATE = {
    "system": "You are an agent.",
    "messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": "Agents: explore"}],
}
SYSTEM = {"system": "You are an agent."}
MOVED = {"mid_system": "user"}
AS_TEXT = {"unoffered_calls": "text"}
USER_FIRST = {"first_user": True}

LISTS = [
    Case("groq", "microsoft/PyRIT#704", "'messages.0.content' : content must be a string", STRING, TEXTS),
    Case("deepseek", "agentscope-ai/QwenPaw#1022",
         "Invaild JSON data:Failed to deserialize the JSON body into the target type: messages[0]: invalid type: "
         "sequence, expected a string at line 1 column 3301", STRING, TEXTS),
    Case("azure", "danny-avila/LibreChat#3111",
         "Invalid type for 'messages[0].content': expected a string, but got an array instead.", STRING, TEXTS),
    Case("llama-cpp-python", "abetlen/llama-cpp-python#1168",
         'can only concatenate str (not "list") to str', STRING, TEXTS, status=500),
    Case("pydantic", "chenyme/grok2api#222",
         {"detail": [{"loc": ["body", "messages", "content", "str"], "msg": "Input should be a valid string"}]}, STRING,
         TEXTS, status=422),
    Case("nim", "", {"error": {"message": "Internal server error: sequence item 0: expected str instance, list found",
         "type": "Internal Server Error", "code": 500}}, STRING, TEXTS, status=500),
    Case("go", "", "json: cannot unmarshal array into Go struct field Message.messages.content of type string", STRING,
         TEXTS),
    Case("c++", "", "[json.exception.type_error.302] type must be string, but is array", STRING, TEXTS, status=500),
    Case("template", "", "'list' object has no attribute 'strip'", STRING, TEXTS, status=500),
    Case("zod", "", "messages.0.content: Expected string, received array", STRING, TEXTS),
    Case("chinese", "", "messages.content 必须为字符串", STRING, TEXTS),
    Case("deepseek-image", "browser-use/browser-use#159",
         "Failed to deserialize the JSON body into the target type: messages[0]: data did not match any variant of "
         "untagged enum ChatCompletionRequestContent at line 1 column 15700", NO_PARTS, PICTURE, status=422),
    Case("groq-image", "as microsoft/PyRIT#704", "messages[0].content must be a string", NO_PARTS, PICTURE),
]  # fmt: skip

ROLES = [
    Case("minimax", "codexu/note-gen#918",
         {"type": "error", "error": {"type": "bad_request_error", "http_code": "400",
          "message": "invalid params, chat content has invalid message role: system (2013)"}}, MOVED, LATE),
    Case("minimax-two", "can1357/oh-my-pi#954", "invalid params, invalid chat setting (2013)", MOVED, LATE),
    Case("minimax-first", "volcengine/OpenViking#628",
         "MinimaxException - invalid params, chat content has invalid message role: system (2013)",
         {"system_role": "user"}, SYSTEM),
    Case("llama.cpp", "Doorman11991/smallcode#62",
         {"error": {"code": 500, "type": "server_error", "message": "\n------------\nWhile executing CallExpression at "
          "line 85, column 32 in source:\n...first %}↵            {{- raise_exception('System message must be at the "
          "beginnin...\nError: Jinja Exception: System message must be at the beginning."}}, MOVED, LATE, status=500),
    Case("perplexity", "perplexityai/api-discussion#265",
         "After the (optional) system message(s), user and assistant roles should be alternating.", MOVED, LATE),
    Case("first-only", "", "Only the first message can be a system message", MOVED, LATE),
    Case("start", "", "System messages must be at the start of the conversation", MOVED, LATE),
    Case("multiple", "", "Multiple system messages are not supported", MOVED, LATE),
    Case("template", "", "Only user and assistant roles are supported!", {"system_role": "user"}, SYSTEM, status=500),
]  # fmt: skip

USERS = [
    Case("zai", "", {"error": {"code": "1214", "message": "The messages parameter is illegal. Please check the "
         "documentation."}}, USER_FIRST, CALLS_FIRST),
    Case("zai-chinese", "", {"error": {"code": "1214", "message": "messages 参数非法。请检查文档。"}}, USER_FIRST,
         CALLS_FIRST),
    Case("qwen", "template of Qwen3.5", {"error": {"code": 500, "message": "Jinja Exception: No user query found in "
         "messages."}}, USER_FIRST, CALLS_FIRST, status=500),
    Case("gemini", "google-gemini/gemini-cli#26486",
         [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Please ensure that function call turn "
          "comes immediately after a user turn or after a function response turn."}}], USER_FIRST, CALLS_FIRST,
         "gemini"),
    Case("bedrock", "langgenius/dify#12340",
         "litellm.BadRequestError: BedrockException - A conversation must start with a user message. Try again with a "
         "conversation that starts with a user message.", USER_FIRST, CALLS_FIRST),
    Case("claude", "tonyljx/TextWordExplain#2", 'messages: first message must use the "user" role', USER_FIRST,
         CALLS_FIRST),
    Case("xinference", "as xorbitsai/inference#1317", "At least one message with role user is required", USER_FIRST,
         CALLS_FIRST),
    Case("role", "", "First message role must be 'user'", USER_FIRST, CALLS_FIRST),
    Case("chinese", "", "对话必须以 user 角色的消息开头", USER_FIRST, CALLS_FIRST),
    Case("chinese-role", "", "messages 中至少需要包含一条 role 为 user 的消息", USER_FIRST, CALLS_FIRST),
    Case("contain", "", "messages must contain at least one user message", USER_FIRST, CALLS_FIRST),
]  # fmt: skip

CALLS = [
    Case("litellm", "",
         "litellm.UnsupportedParamsError: Bedrock doesn't support tool calling without `tools=` param specified.",
         AS_TEXT, NO_TOOLS),
    Case("bedrock", "pydantic/pydantic-ai#5929",
         "An error occurred (ValidationException) when calling the Converse operation: The toolConfig field must be "
         "defined when using toolUse and toolResult content blocks.", AS_TEXT, NO_TOOLS),
    Case("claude", "", "Requests which include `tool_use` or `tool_result` blocks must define tools", AS_TEXT,
         NO_TOOLS),
    Case("groq", "mastra-ai/mastra#9688",
         "Tool call validation failed: tool call validation failed: attempted to call tool 'Bash' which was not in "
         "request.tools", AS_TEXT, OTHER_TOOL),
    Case("groq-older", "BerriAI/litellm#11001", "requested tool does not exist", AS_TEXT, OTHER_TOOL),
    Case("declared", "", "Function 'Bash' is not declared in tools", AS_TEXT, OTHER_TOOL),
    Case("unknown", "", "Unknown tool: Bash", AS_TEXT, OTHER_TOOL),
    Case("not-found", "", "Tool 'Bash' not found in the provided tools", AS_TEXT, OTHER_TOOL),
    Case("role", "", "Messages with role 'tool' require 'tools' to be set", AS_TEXT, NO_TOOLS),
    Case("chinese-in", "", "工具 Bash 未在 tools 中定义", AS_TEXT, OTHER_TOOL),
    Case("required", "", "`tools` must be provided when messages contain tool calls", AS_TEXT, NO_TOOLS),
    Case("chinese", "", "工具 Bash 未定义", AS_TEXT, OTHER_TOOL),
]  # fmt: skip

CASES = [*LISTS, *ROLES, *USERS, *CALLS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{next(iter(case.patch))}-{case.name}")
def test_history_gets_the_form_that_the_provider_takes(case: Case) -> None:
    correction = find_whole(case)
    assert correction == case.patch
    assert correction.lasting
    changed = LearnedProfiles(case.profile).get(MODEL, case.patch)
    assert convert(case, changed) != convert(case, case.profile)
    again = find_correction_of(case, case.patch)
    assert again is None or convert(case, LearnedProfiles(changed).get(MODEL, again)) != convert(case, changed)


def find_correction_of(case: Case, patch: Any) -> Any:
    options = {**case.options, **patch}
    return find(Case(case.name, "", case.body, {}, case.request, case.provider, options, case.status))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_words_teach_nothing_when_the_history_has_nothing_of_the_kind(case: Case) -> None:
    assert find(Case(case.name, "", case.body, {}, status=case.status)) is None


WHOLE_TOOLS = {**LATE, "messages": [*HISTORY, {"role": "system", "content": "x"}], "tools": [TOOL]}


@pytest.mark.parametrize(
    "words",
    [
        "The system is overloaded",
        "System error, please try again",
        "The user message was blocked by the content filter",
        "Internal server error",
        "tool call validation failed: parameters for tool Bash did not match schema: errors: [`/a`: expected array]",
        "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
        "messages: text content blocks must be non-empty",
        "messages[2].content: string too long",
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
        "The model is not found",
        "list index out of range",
        "Connection error: expected a response",
    ],
)
@pytest.mark.parametrize("status", [400, 422, 429, 500])
@pytest.mark.parametrize("request_", [WHOLE_TOOLS, TEXTS, PICTURE, SYSTEM], ids=["tools", "texts", "picture", "system"])
def test_other_words_change_no_history(words: str, status: int, request_: Any) -> None:
    assert find(Case("other", "", words, {}, request_, status=status)) is None


# What is sent then


def sent(request: Any, **options: Any) -> list[dict[str, Any]]:
    case = Case("", "", "", {}, request, options=options)
    messages: list[dict[str, Any]] = convert(case, case.profile)["messages"]
    return messages


@pytest.mark.parametrize("provider", ["ollama", "vllm", "nvidia", "openai"])
def test_user_message_of_texts_is_one_string(provider: str) -> None:
    case = Case("", "", "", {}, TEXTS, provider)
    assert convert(case, case.profile)["messages"] == [{"role": "user", "content": "a\n\nb"}]
    case = Case("", "", "", {}, PICTURE, provider)
    assert [part["type"] for part in convert(case, case.profile)["messages"][0]["content"]] == ["image_url", "text"]


def test_cache_marks_keep_a_message_of_texts_in_parts() -> None:
    marked = {"messages": [{"role": "user", "content": [{**TEXT, "cache_control": {"type": "ephemeral"}}, TEXT]}]}
    assert isinstance(sent(marked, text_parts="string", cache_control="pass")[0]["content"], list)
    assert sent(marked, text_parts="string") == [{"role": "user", "content": "a\n\na"}]


def test_user_message_is_added_in_front_of_what_the_assistant_says_first() -> None:
    roles = [(m["role"], m["content"]) for m in sent(CALLS_FIRST, first_user=True)[:2]]
    assert roles == [("system", "s"), ("user", FIRST_USER)]
    assert sent(NO_TOOLS, first_user=True) == sent(NO_TOOLS)


def test_calls_without_their_tools_are_told_as_text() -> None:
    assert sent(NO_TOOLS, unoffered_calls="text", text_parts="string") == [
        {"role": "user", "content": "ls"},
        {"role": "assistant", "content": 'I look.\n\n[called the tool Bash with {"command":"ls"}]'},
        {"role": "user", "content": "[result of an earlier tool call]\na.txt\n\nSummarize."},
    ]


def test_calls_of_offered_tools_stay_calls_beside_others() -> None:
    read = {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {}}
    messages = [
        {"role": "user", "content": "ls"},
        {"role": "assistant", "content": [USE, {**USE, "id": "toolu_3"}, read]},
        {"role": "user", "content": [RESULT, {**RESULT, "tool_use_id": "toolu_2", "content": [TEXT, IMAGE]}]},
    ]
    asked = {"messages": messages, "tools": OTHER_TOOL["tools"]}
    _, said, result, told = sent(asked, unoffered_calls="text", text_parts="string")
    bash = '[called the tool Bash with {"command":"ls"}]'
    assert said["content"] == f"{bash}\n\n{bash}"
    assert [call["function"]["name"] for call in said["tool_calls"]] == ["Read"]
    assert result == {"role": "tool", "tool_call_id": "toolu_2", "content": "a\n\n[image 1]"}
    assert [part["type"] for part in told["content"]] == ["text", "image_url", "text"]
    assert told["content"][2]["text"] == "[result of an earlier tool call]\na.txt"
    both = {"messages": messages, "tools": [{**TOOL, "name": "Read"}, TOOL]}
    assert sent(both, unoffered_calls="text") == sent(both)


def test_histories_are_refused_as_before_where_calls_are_told_as_text() -> None:
    options = {"unoffered_calls": "text", "history_repair": "refuse"}
    assert len(sent(NO_TOOLS, **options)) == 3
    twice = {"messages": [*HISTORY[:2], *HISTORY[1:]]}
    with pytest.raises(ApiError, match="ids must be unique"):
        sent(twice, **options)
    stray = {"messages": [HISTORY[0], {"role": "assistant", "content": "x"}, HISTORY[2]]}
    with pytest.raises(ApiError, match="unexpected `tool_use_id`"):
        sent(stray, **options)


@pytest.mark.parametrize(
    "words", ["function 'generate' is not defined", "Unknown function: main", "tool 'x' not found"]
)
@pytest.mark.parametrize("request_", [OTHER_TOOL, NO_TOOLS], ids=["other", "none"])
def test_calls_stay_when_another_name_is_refused(words: str, request_: Any) -> None:
    assert find(Case("other", "", words, {}, request_, status=500)) is None
