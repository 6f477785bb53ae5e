from typing import Any

import pytest

from ccproxy_middleware.conversion.providers.errors import error_from_payload
from ccproxy_middleware.conversion.providers.tool_limit import TOOL_LIMIT_REMEDY


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 130512 tokens.",
            (130512, 128000),
        ),
        (
            "This model's maximum context length is 8192 tokens, but the prompt contains at least 9000 tokens.",
            (9000, 8192),
        ),
        (
            "This model's maximum context length is 4097 tokens. However, you requested 6000 tokens "
            "(5000 in the messages, 1000 in the completion). Please reduce the length.",
            (5000, 4097),
        ),
        (
            "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens "
            "(1000 in the messages, 4000 in the completion).",
            (1000, 4000, 4097),
        ),
        (
            "This endpoint's maximum context length is 131072 tokens. However, you requested about 212342 tokens "
            "(84342 of text input, 128000 in the output). Please reduce the length of either one.",
            (84342, 128000, 131072),
        ),
        (
            "This endpoint's maximum context length is 1000 tokens. However, you requested about 1200 tokens "
            "(800 of text input, 300 of tool input, 100 in the output).",
            (1100, 1000),
        ),
        (
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
            (1200000, 1048576),
        ),
        ("The input token count 1200 exceeds the maximum number of tokens allowed 1000.", (1200, 1000)),
        (
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300123 tokens.",
            (300123, 272000),
        ),
        (
            "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            (65673, 32768),
        ),
        ("Prompt contains 40000 tokens, over the limit of 32768", (40000, 32768)),
        ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", (9000, 8192)),
        (
            "This model's maximum prompt length is 131072 but the request contains 150000 tokens.",
            (150000, 131072),
        ),
        ("Please reduce the length. Current length is 9000 while limit is 8192", (9000, 8192)),
        (
            "This model's maximum context length is 32768 tokens. However, you requested 1000 output tokens and "
            "your prompt contains at least 32000 input tokens, for a total of at least 33000 tokens.",
            (32000, 1000, 32768),
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is "
            "32768 tokens and your request has 30000 input tokens (8192 > 32768 - 30000).",
            (30000, 8192, 32768),
        ),
        (
            "maximum context length is 128,000 tokens. your messages resulted in 130,512 tokens",
            (130512, 128000),
        ),
        ("prompt is too long: 210000 tokens > 200000 maximum", (210000, 200000)),
        (
            "input length and `max_tokens` exceed context limit: 150000 + 64000 > 200000, decrease input length or "
            "`max_tokens` and try again",
            (150000, 64000, 200000),
        ),
        (
            "input length and max_tokens exceed context limit: 189727 + 16000 > 200000, decrease input length or "
            "max_tokens and try again",
            (189727, 16000, 200000),
        ),
        (
            "This endpoint's maximum context length is 262144 tokens. However, you requested about 264896 tokens "
            "(52139 of text input, 12757 of tool input, 200000 in the output).",
            (64896, 200000, 262144),
        ),
        (
            "This model's maximum context length is 8192 tokens, however you requested 8610 tokens "
            "(8610 in your prompt; 0 for the completion).",
            (8610, 8192),
        ),
        # Wordings that no pattern knows, read by their words and numbers
        (
            "Invalid request: Your request exceeded model token limit: 262144 (requested: 262147)",  # Moonshot
            (262147, 262144),
        ),
        (
            "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded with "
            "context length of only 4096 tokens, which is not enough.",  # LM Studio
            (15857, 4096),
        ),
        (
            "The number of tokens to keep from the initial prompt is greater than the context length "
            "(n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length.",  # LM Studio
            (13055, 4096),
        ),
        ("length of prompt_tokens (57535) must be less than max_seq_len (32768)", (57535, 32768)),  # SiliconFlow
        ("number of input tokens (204703) has exceeded max_prompt_tokens (202752) limit.", (204703, 202752)),
        ("prompt token count of 93854 exceeds the limit of 90000", (93854, 90000)),  # GitHub
        (
            "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",  # Poolside
            (131393, 131040),
        ),
        ("Prompt tokens (9000) exceeds context size (8192)", (9000, 8192)),
        ("输入长度超过模型最大上下文长度 131072，当前 140000", (140000, 131072)),
        ("请求的 token 数 70000 超过上限 65536", (70000, 65536)),
        (  # OpenRouter, without a limit of the output
            "This endpoint's maximum context length is 32768 tokens. However, you requested about 42832 tokens "
            "(42832 of text input). Please reduce the length of either one.",
            (42832, 32768),
        ),
        (
            "Requested token count exceeds the model's maximum context length of 131072 tokens. You requested a total "
            "of 163840 tokens: 131840 tokens from the input messages and 32000 tokens for the completion.",  # SGLang
            (131840, 131072),
        ),
        (
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32769. Given: 33500 `inputs` tokens "
            "and 1024 `max_new_tokens`",  # Hugging Face's TGI
            (33500, 32769),
        ),
        ("Input validation error: `inputs` must have less than 32768 tokens. Given: 45102", (45102, 32768)),
        (
            "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs. The limit for "
            "this model is 4081 tokens.",  # Cohere
            (15407, 4081),
        ),
        ("The context of 131,072 tokens is exceeded by your 140,512 tokens.", (140512, 131072)),
        ("The prompt has 132045 tokens but the model supports only 131072", (132045, 131072)),
        ("Max context of 131072 tokens reached: the conversation has 131900", (131900, 131072)),
        ("the conversation has 205,113 tokens, more than the 200,000 that this model reads", (205113, 200000)),
        ("context length exceeded: 143211/131072", (143211, 131072)),
        ("This request exceeds the maximum number of tokens: 140000 > 131072", (140000, 131072)),
        ("The number of input tokens is 201000, max allowed is 200000", (201000, 200000)),
        ("too many tokens: total tokens (prompt 135000 + completion 4096) > 131072", (135000, 131072)),
        ("the sum of prompt length (120000.0) should not exceed max_num_tokens (100000)", (120000, 100000)),
        ("prompt length (150000) + max_tokens (32000) exceeds the context length (163840)", (150000, 32000, 163840)),
        (
            "Total tokens (prompt 100000 + completion 32000 = 132000) exceed model context length 131072",
            (100000, 32000, 131072),
        ),
        ("Requested tokens (40285) exceed context window of 32768", (40285, 32768)),  # llama-cpp-python
        ("Number of tokens (75700) exceeded maximum context length (51200).", (75700, 51200)),
        ("error code 400: n_tokens 140000 >= n_ctx 131072", (140000, 131072)),
        ("Cannot process 140000 tokens: model window is 131072 tokens", (140000, 131072)),
        (
            "requested 152000 tokens (prompt: 120000, max_tokens: 32000), model context is 131072",
            (120000, 32000, 131072),
        ),
        ("文本长度超过限制，最大 131072 tokens，实际 140000 tokens", (140000, 131072)),
        ("模型最大支持 131072 tokens，您的输入为 150233 tokens，请缩短输入", (150233, 131072)),
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422, 500, None])
def test_overflow_has_claudes_wording_when_a_provider_tells_the_numbers(
    status: int | None, message: str, expected: tuple[int, ...]
) -> None:
    if len(expected) == 2:
        wording = "prompt is too long: {} tokens > {} maximum".format(*expected)
    else:
        wording = (
            "input length and `max_tokens` exceed context limit: {} + {} > {}, "
            "decrease input length or `max_tokens` and try again"
        ).format(*expected)
    error = error_from_payload({"error": {"message": message}}, status)
    assert (error.status, error.type, error.message) == (400, "invalid_request_error", wording)


@pytest.mark.parametrize(
    "fields",
    [
        {
            "code": "context_length_exceeded",
            "message": "Your input exceeds the context window of this model.",
        },
        {"code": "context_length_exceeded", "message": "too much"},
        {"type": "exceed_context_size_error", "message": "no numbers", "n_prompt_tokens": 5, "n_ctx": 10},
        {"message": "the request exceeds the available context size. try increasing it"},
        {"message": "Range of input length should be [1, 129024]"},
        {"message": "maximum context length is 100 tokens, your messages resulted in 50 tokens"},
        {"message": "Prompt exceeds maximum context length"},
        {"message": "Prompt exceeds max length", "code": "1261"},  # Z.ai
        {"message": "Prompt 超长", "code": 1261},
        {"message": "tokens in request more than max tokens allowed", "code": "1210"},
        {"message": "invalid params, context window exceeds limit (2013)", "type": "bad_request_error"},  # MiniMax
        {"message": "no words", "code": "model_max_prompt_tokens_exceeded"},  # GitHub
        {"message": "Prompt tokens too long", "code": "tokens_too_long"},  # Baidu
        {"message": "Message exceeds token limit."},
        {"message": "上下文长度超过限制"},
        {"message": "对话长度超出模型限制，请新建对话"},
        {"message": "tokens 总数超过 32768 限制"},
        {"message": "上下文窗口不足"},
        {"message": "您的提问内容太长了，请缩短后再试"},
        {"message": "token超限"},
        {"message": "Please reduce the length of the messages or completion."},  # Groq
        {"message": "Total tokens of image and text exceed max message tokens"},  # Volcengine
        {"message": "Error 40015: the conversation is longer than the context window"},
    ],
)
def test_overflow_keeps_the_providers_text_when_there_are_no_numbers(fields: dict[str, Any]) -> None:
    assert error_from_payload({"error": fields}, 400).message == f"prompt is too long ({fields['message']})"


def test_overflow_is_told_without_text_when_there_is_none() -> None:
    assert error_from_payload({"error": {"code": "context_length_exceeded"}}).message == "prompt is too long"


def test_numbers_come_from_the_fields_when_llama_cpp_gives_them() -> None:
    fields = {
        "code": 400,
        "type": "exceed_context_size_error",
        "message": "m",
        "n_prompt_tokens": 9000,
        "n_ctx": 8192,
    }
    assert error_from_payload({"error": fields}, 400).message == "prompt is too long: 9000 tokens > 8192 maximum"


TPM = "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7345, please reduce it."


def test_a_request_over_the_minutes_tokens_is_too_long_when_the_status_is_413() -> None:
    payload = {"error": {"message": TPM, "type": "tokens", "code": "rate_limit_exceeded"}}
    error = error_from_payload(payload, 413)
    assert (error.status, error.message) == (400, "prompt is too long: 7345 tokens > 6000 maximum")
    assert error_from_payload(payload, 429).status == 429
    numberless = error_from_payload({"error": {"message": "over the tokens per minute"}}, 413)
    assert numberless.message == "prompt is too long (over the tokens per minute)"


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 32000. This model supports at most 16384 completion tokens",
        "Rate limit reached on tokens per minute (TPM): Limit 6000, Requested 7345",
        "top_p must be in (0, 1]",
        "max_tokens (40000) exceeds the maximum output tokens 8192",
        "max_completion_tokens: 64000 > 32768, which is the maximum allowed number of output tokens",
        "Range of max_tokens should be [1, 8192]",
        "thinking_budget 40000 exceeds max_tokens 32000",
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 150.",
        "Too many tools: 150 exceeds limit 128",
        "messages: number of messages 3000 exceeds the limit 2048",
        "At most 1 image(s) may be provided in one request.",
        "Too many images in request: 25 > 20",
        "The image size exceeds 10MB limit",
        "string too long: tools[3].function.description exceeds 1024 characters",
        "Invalid 'input[3].name': string too long. Expected maximum length 64, but got a string with length 70",
        "tool call id is too long: 64 > 40",
        "The number of stop sequences exceeds the limit of 4",
        "Request rate exceeds 60 requests per minute",
        "The request exceeded the maximum number of concurrent requests (5)",
        "Your organization's input tokens per minute limit exceeded: 40,000",
        "request body too large: 20971520 bytes",
        "每分钟请求的 token 数超过限制 60000",
        "工具数量超过上限 128",
        "You have exceeded the token limit of your plan for today: 1000000",
        "token limit exceeded for this API key",
        "Too many tokens requested this minute (limit 30000, used 29000)",
        "The request queue has a length of 500 and exceeds its limit of 400",
        "The requested number of output tokens (64000) exceeds the maximum of 8192 for this model",
        "max_tokens=32000 cannot be greater than max_model_len=max_total_tokens=8192. Please request fewer output "
        "tokens.",
        "max_tokens (32000) exceeds the model's context length (8192)",
        "max_completion_tokens is too large for the context window",
        "max_tokens 32000 超过模型上下文长度 8192",
        "最大输出 token 数不能超过 8192",
        "metadata.user_id: input length 300 exceeds maximum 256 characters",
        "prompt_cache_key: string length 80 exceeds the limit of 64",
        "Invalid 'tools[0].function.parameters': input schema has length 20000, maximum 16384",
        "The input image's width of 8000 exceeds the maximum length of 7680 pixels",
        "输入的图片长度超过 8000 像素",
        "请求体长度超过限制 10485760",
        "Max retries exceeded with url: /v1/context window",
        "top_logprobs must be less than 20 for prompt tokens",
        "token 超过限额",
    ],
)
def test_other_errors_stay_themselves(message: str) -> None:
    told = error_from_payload({"error": {"message": message}}, 400, max_tokens=32000).message
    assert told.removesuffix(f" {TOOL_LIMIT_REMEDY}") == message


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_no_overflow_when_its_limit_is_exceeded(status: int) -> None:
    message = "user input token is invalid; session limit exceeded"
    assert not error_from_payload({"error": {"message": message}}, status).message.startswith("prompt")


@pytest.mark.parametrize(
    ("message", "max_tokens", "expected"),
    [
        (
            "Request 182387 input tokens exceeds the model's maximum context length 202750",
            32000,
            "input length and `max_tokens` exceed context limit: 182387 + 32000 > 202750, ",
        ),
        (
            "max_total_tokens (33802) must be less than or equal to max_seq_len (32768)",
            32000,
            "input length and `max_tokens` exceed context limit: 1802 + 32000 > 32768, ",
        ),
        (
            "Total input + output tokens (142000) exceed 131072",
            32000,
            "input length and `max_tokens` exceed context limit: 110000 + 32000 > 131072, ",
        ),
        (
            "prompt token count of 93854 exceeds the limit of 90000",
            32000,
            "prompt is too long: 93854 tokens > 90000 maximum",
        ),
        (
            "Request 100 input tokens exceeds the model's maximum context length 202750",
            5,
            "prompt is too long (Request 100 input tokens",
        ),
    ],
)
def test_prompt_and_output_are_told_apart_when_the_request_says_how_much_it_asked_for(
    message: str, max_tokens: int, expected: str
) -> None:
    error = error_from_payload({"error": {"message": message}}, 400, max_tokens=max_tokens)
    assert error.message.startswith(expected)
