"""What providers do differently, as data: a row for each, by the names of the switches in ``profiles``.

Sources: the page or the issue beside a row, else the vendor's own reference and observation, as of November 2026.
"""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def _row(**switches: Any) -> Row:
    return switches


_EFFORTS_LMH = ("low", "medium", "high")

# Kimi's own form of ids, ``functions.NAME:0``, which its template knows.
# Source: moonshotai/Kimi-K2-Instruct on Hugging Face, docs/tool_call_guidance.md
_KIMI_MODELS: tuple[tuple[str, Mapping[str, Any]], ...] = ((r"kimi", {"tool_id": "kimi"}),)

_GPT_OSS_MODELS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (r"gpt-oss", {"efforts": _EFFORTS_LMH, "effort_off": "low"}),
)

_OPENAI_MODELS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    (r".*search-preview", {"efforts": (), "chat_search": "options"}),
    (r"(gpt-3|gpt-4|chatgpt-4)", {"efforts": ()}),
    (r"gpt-5.*-chat", {"efforts": ()}),
    (
        r"(o3|o4-mini)",
        {
            "efforts": _EFFORTS_LMH, "effort_off": "omit", "sampling": "drop",
            "system_role": "developer", "stop_limit": 0,
        },
    ),
    (
        r"o1",
        {"efforts": _EFFORTS_LMH, "effort_off": "omit", "sampling": "drop", "system_role": "developer"},
    ),
    (
        r"gpt-5\.[4-9]",
        {"sampling": "drop", "system_role": "developer", "tools_with_effort": "none"},
    ),
    (r"gpt-5\.[1-3]", {"efforts": ("none", *_EFFORTS_LMH), "sampling": "drop", "system_role": "developer"}),
    (
        r"gpt-5(-|$)",
        {
            "efforts": ("minimal", *_EFFORTS_LMH), "effort_off": "minimal",
            "sampling": "drop", "system_role": "developer",
        },
    ),
)  # fmt: skip

# gpt-5.4 and later refuse tools with an effort on chat completions; codex and pro models are on Responses alone.
_RESPONSES_MODELS = (
    r"(?!.*(?:search-preview|audio|realtime|transcribe|o1-mini))(?:gpt-(?:[5-9]|[12]\d)|o\d|codex|computer-use)"
)

_OPENAI = _row(
    name="openai",
    obfuscation="off",
    responses_models=_RESPONSES_MODELS,
    hosts=("api.openai.com", ".api.openai.com"),  # platform.openai.com/docs/guides/your-data: eu. and others
    max_tokens_field="max_completion_tokens",
    efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    pdf="file",
    user_field="safety_identifier",
    service_tier="pass",
    tokenizer="o200k",
    models=_OPENAI_MODELS,
)

ROWS: tuple[Row, ...] = (
    _row(models=_KIMI_MODELS, text_parts="list"),
    _OPENAI,
    {
        **_OPENAI,
        "name": "azure",
        "hosts": (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
        "user_field": "user",
        "service_tier": "drop",
    },
    _row(  # github.com/ollama/ollama, openai/openai.go: reasoning_effort is its "think", and reasoning comes back
        name="ollama",
        port=11434,
        stop_limit=None,
        efforts=("none", *_EFFORTS_LMH),
        reasoning_roundtrip="reasoning",
        reasoning_turns="loop",
        models=_KIMI_MODELS,
    ),
    _row(
        name="vllm",
        top_k="pass",
        schema_dialect="xgrammar",
        prefill="vllm",
        stop_limit=None,
        reasoning_roundtrip="reasoning",
        reasoning_turns="loop",
        models=_KIMI_MODELS,
    ),
    _row(
        name="llama.cpp",
        top_k="pass",
        schema_dialect="llama.cpp",
        stop_limit=None,
        reasoning_roundtrip="reasoning_content",
        reasoning_turns="loop",
        models=_KIMI_MODELS,
    ),
    _row(
        name="deepseek",
        hosts=("api.deepseek.com",),
        reasoning_style="deepseek",
        efforts=("high", "max"),
        reasoning_roundtrip="reasoning_content",
        structured_output="json_object",
        stop_limit=16,
        vision=False,
        strict_tools=False,
    ),
    _row(
        name="openrouter",
        hosts=("openrouter.ai",),
        chat_search="openrouter",
        reasoning_style="openrouter",
        reasoning_roundtrip="reasoning_details",
        efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        top_k="pass",
        pdf="file",
        models=_KIMI_MODELS,
    ),
    _row(
        name="groq",
        hosts=("api.groq.com",),
        max_tokens_field="max_completion_tokens",
        reasoning_style="groq",
        models=(
            *_GPT_OSS_MODELS,
            (r"qwen", {"efforts": ("none",), "effort_off": "none"}),
            *_KIMI_MODELS,
        ),
    ),
    _row(
        name="gemini",
        # cloud.google.com/vertex-ai/docs/reference/rest: regions stand in front of the dash
        hosts=("generativelanguage.googleapis.com", "aiplatform.googleapis.com", "-aiplatform.googleapis.com"),
        reasoning_roundtrip="gemini",
        schema_dialect="gemini",
        strict_tools=False,
        parallel_flag=False,
        stop_limit=5,
        efforts=_EFFORTS_LMH,
        models=(
            # Without the name on a tool result: "Request contains an invalid argument."
            (r"gemini-(1|2\.0)", {"tool_result_name": True, "efforts": ()}),
            (r"gemini-(2\.5-pro|3)", {"tool_result_name": True, "effort_off": "low"}),
            (r"gemini", {"tool_result_name": True}),
        ),
    ),
    _row(
        name="mistral",
        hosts=("api.mistral.ai", "codestral.mistral.ai"),
        tool_id="mistral9",
        bridge_after_tool=True,
        assistant_null_content="empty",
        mid_system="user",
        stream_usage=False,
        stop_limit=None,
        prefill="prefix",
    ),
    _row(
        name="xai",
        responses_models=r"grok-(?:[4-9]|[1-9]\d)",  # docs.x.ai calls chat completions deprecated
        unescape_arguments=True,  # github.com/anomalyco/opencode, issues on grok-4.1 and "&amp;&amp;"
        hosts=("api.x.ai", ".api.x.ai"),  # docs.x.ai/docs/key-information/regions
        max_tokens_field="max_completion_tokens",
        models=(
            (r"grok-(4\.[3-9]|[5-9])", {"efforts": ("none", *_EFFORTS_LMH), "stop_limit": 0}),
            (r"grok-4", {"stop_limit": 0}),
            (r"grok-3-mini", {"efforts": ("low", "high"), "effort_off": "omit", "stop_limit": 0}),
        ),
    ),
    _row(
        name="together",
        models=_KIMI_MODELS,
        hosts=("api.together.xyz", "api.together.ai"),
        reasoning_style="together",
        strict_tools=False,
        top_k="pass",
        stop_limit=None,
    ),
    _row(
        name="fireworks",
        models=_KIMI_MODELS,
        hosts=("api.fireworks.ai",),
        efforts=("none", *_EFFORTS_LMH),
        top_k="pass",
    ),
    _row(
        name="cerebras",
        hosts=("api.cerebras.ai",),
        schema_dialect="cerebras",
        max_tokens_field="max_completion_tokens",
        models=_GPT_OSS_MODELS,
    ),
    _row(
        name="nvidia",
        hosts=("integrate.api.nvidia.com",),
        strict_tools=False,
        models=(
            # docs.nvidia.com/nim/large-language-models, "Use Reasoning Models": by the template's own switches
            *_GPT_OSS_MODELS,
            # github.com/NousResearch/hermes-agent, issue 19883: tried against the service
            (r"deepseek-v4", {"efforts": ("high", "max"), "effort_off": "omit"}),
            (r"deepseek-v3", {"reasoning_style": "chat_template"}),
            # the example of build.nvidia.com/z-ai/glm5, quoted in github.com/anomalyco/opencode, issue 13584
            (r"glm", {"reasoning_style": "chat_template"}),
            (r"(nemotron-3|qwen3)", {"reasoning_style": "chat_template"}),
            *_KIMI_MODELS,
        ),
    ),
    _row(name="cloudflare", hosts=("api.cloudflare.com", "gateway.ai.cloudflare.com"), strict_tools=False),
    _row(
        name="moonshot",
        tool_id="kimi",
        hosts=("api.moonshot.ai", "api.moonshot.cn", "api.kimi.com"),
        schema_dialect="moonshot",
        reasoning_style="thinking_object",
        reasoning_roundtrip="reasoning_content",
        strict_tools=False,
        structured_output="json_object",
        stop_limit=5,
    ),
    _row(
        name="z.ai",
        hosts=("api.z.ai", "open.bigmodel.cn"),
        reasoning_style="thinking_object",
        structured_output="json_object",
        stop_limit=5,
    ),
    _row(
        name="minimax",
        hosts=("api.minimax.io", "api.minimaxi.com", "api.minimax.chat", "api.minimaxi.chat"),
        strict_tools=False,
        # Two system messages are "invalid chat setting (2013)": github.com/can1357/oh-my-pi, pull request 954
        mid_system="user",
        models=(
            # platform.minimax.io/docs/api-reference/text-openai-api: thoughts of their own with reasoning_split, which
            # have to go back; of tool_choice none and auto alone, and no images, before M3
            (
                r"minimax-m[12]",
                {
                    "extra_body": {"reasoning_split": True}, "reasoning_roundtrip": "reasoning_details",
                    "forced_tool_choice": False, "vision": False,
                },
            ),
            (
                r"minimax-m",
                {"extra_body": {"reasoning_split": True}, "reasoning_roundtrip": "reasoning_details"},
            ),
        ),
    ),
    _row(  # www.alibabacloud.com/help/en/model-studio/deep-thinking, docs.qwencloud.com/api-reference/chat
        name="dashscope",
        hosts=(
            "dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com",
            ".dashscope.aliyuncs.com", ".maas.aliyuncs.com",
        ),
        top_k="pass",
        strict_tools=False,
        structured_output="json_object",
        models=(
            (r"(qwen3?-coder|qwen3-.*(instruct|thinking)|qwq|qvq)", {}),
            (
                r"(qwen3|qwen-(plus|flash|turbo)|deepseek-v(3\.[1-9]|4)|glm-[45]|kimi-k2\.[5-9])",
                {"reasoning_style": "enable_thinking"},
            ),
        ),
    ),
    _row(  # docs.siliconflow.cn/docs/api/chat-completions-post
        name="siliconflow",
        hosts=("api.siliconflow.cn", "api.siliconflow.com"),
        top_k="pass",
        strict_tools=False,
        models=(
            (r"(deepseek-v4|glm-5\.2)", {"reasoning_style": "enable_thinking", "efforts": ("high", "max")}),
            (r"qwen3-.*(coder|instruct|thinking)", {}),
            (r"(qwen3|deepseek-v3\.[12]|glm-(4\.[5-9]|5))", {"reasoning_style": "enable_thinking"}),
            *_KIMI_MODELS,
        ),
    ),
    _row(  # lmstudio.ai/docs/developer/openai-compat; thoughts are in the text unless a setting moves them
        name="lmstudio",
        port=1234,
        top_k="pass",
        stop_limit=None,
        think_tags="auto",
        strict_tools=False,
        tool_choice_object=False,  # "Supported string values: none, auto, required"
        models=(*_GPT_OSS_MODELS, *_KIMI_MODELS),
    ),
    _row(  # docs.github.com/en/rest/models/inference lists every parameter; tool_choice is auto, required or none
        name="github",
        hosts=("models.github.ai", "models.inference.ai.azure.com"),
        parallel_flag=False,
        tool_choice_object=False,
        models=tuple(
            (pattern, {"max_tokens_field": "max_completion_tokens", **switches})
            for pattern, switches in _OPENAI_MODELS
        ),
    ),
    _row(
        name="databricks",
        hosts=(".cloud.databricks.com", ".gcp.databricks.com", ".azuredatabricks.net"),
        stream_usage=False,  # stream_options is refused: github.com/anomalyco/opencode, issue 31156
        strict_tools=False,
        parallel_flag=False,  # unknown fields are refused: github.com/databricks/databricks-sdk-py, issue 1263
        # Claude there refuses reasoning_effort: github.com/maximhq/bifrost, pull request 6958
        models=((r"databricks-(gpt-oss|gpt-5)", {"efforts": _EFFORTS_LMH, "effort_off": "low"}),),
    ),
    _row(  # huggingface.co/docs/inference-providers: many providers behind one name, MODEL:PROVIDER takes one
        name="huggingface",
        hosts=("router.huggingface.co",),
        strict_tools=False,
        models=(*_GPT_OSS_MODELS, *_KIMI_MODELS),
    ),
    _row(  # www.volcengine.com/docs/82379/1494384, docs.byteplus.com/en/docs/Byteplus_LAS/Chat_API
        name="volcengine",
        hosts=(".volces.com", ".bytepluses.com"),
        reasoning_style="thinking_object",
        stop_limit=0,  # "not supported by deep reasoning models"
        structured_output="json_object",
        strict_tools=False,
        models=(
            (r"(deepseek-v3-2[45]|doubao-1-5-(pro|lite)|kimi)", {"reasoning_style": "none", "stop_limit": 4}),
        ),
    ),
    _row(  # docs.baseten.co/inference/model-apis/overview
        name="baseten",
        hosts=("inference.baseten.co", ".api.baseten.co"),
        strict_tools=False,
        models=(*_GPT_OSS_MODELS, *_KIMI_MODELS),
    ),
    _row(  # docs.sambanova.ai/docs/en/features/openai-compatibility; DeepSeek's thoughts come in the text
        name="sambanova",
        hosts=("api.sambanova.ai",),
        top_k="pass",
        strict_tools=False,
        think_tags="auto",
        models=_GPT_OSS_MODELS,
    ),
    _row(
        name="perplexity",
        hosts=("api.perplexity.ai",),
        # Roles must alternate after the system prompt: github.com/perplexityai/api-discussion, issue 265
        mid_system="user",
        bridge_after_tool=True,
        think_tags="auto",
        strict_tools=False,
        stop_limit=0,  # docs.perplexity.ai/api-reference/chat-completions-post has none
        models=((r"sonar-deep-research", {"efforts": _EFFORTS_LMH, "effort_off": "omit"}),),
    ),
)  # fmt: skip
