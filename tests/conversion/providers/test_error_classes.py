"""Errors of many providers, in their own codes and words: the class in which the client gets them."""

import json
from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.response import convert_response
from ccproxy_middleware.conversion.chat.stream import StreamConverter
from ccproxy_middleware.conversion.context import Context
from ccproxy_middleware.conversion.providers.errors import PromptRefused, error_from_payload, error_from_response
from ccproxy_middleware.conversion.providers.profiles import Profile
from ccproxy_middleware.toolkit.errors import ApiError

MONEY = (402, "billing_error")
RATE = (429, "rate_limit_error")
BUSY = (529, "overloaded_error")
INVALID = (400, "invalid_request_error")
MISSING = (404, "not_found_error")
FORBIDDEN = (403, "permission_error")
OWN_KEY = (502, "api_error")


def answered(status: int, payload: Any, headers: tuple[tuple[bytes, bytes], ...] = ()) -> ApiError:
    return error_from_response(status, headers, json.dumps(payload).encode(), Profile())


def error(message: str = "no", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, **fields}}


def base_resp(code: int, words: str = "no") -> dict[str, Any]:
    return {"id": "1", "choices": None, "base_resp": {"status_code": code, "status_msg": words}}


MONEY_IS_MISSING = [
    (429, error("余额不足或无可用资源包,请充值。", code="1113")),
    (429, error("Insufficient balance or no resource package. Please recharge.", code=1113)),
    (429, error("plan ended", code="1309")),
    (200, base_resp(1008, "insufficient balance")),
    (429, {"type": "error", "error": {"type": "insufficient_balance_error", "message": "(1008)", "http_code": "429"}}),
    (400, error("Access denied, please make sure your account is in good standing.", code="Arrearage")),
    (403, error("The free tier of the model has been exhausted.", code="AllocationQuota.FreeTierOnly")),
    (403, error("The request failed because your account has an overdue balance.", code="AccountOverdueError")),
    (403, error("denied", code="OperationDenied.ServiceOverdue")),
    (429, error("Your account has exhausted its free trial quota for the model.", code="QuotaExceeded")),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
    (403, error("user quota is not enough (request id: 1)", type="new_api_error", code="insufficient_user_quota")),
    (403, error("用户额度不足, 剩余额度: ＄0.00", type="new_api_error", code="insufficient_user_quota")),
    (403, error("token quota is not enough", code="pre_consume_token_quota_failed")),
    (401, error("该令牌额度已用尽 !token.UnlimitedQuota", type="new_api_error")),
    (402, error("Insufficient Balance", type="unknown_error", code="invalid_request_error")),
    (500, error("Error from provider: 402 Insufficient Balance")),
    (429, error("suspended, please recharge your account", type="exceeded_current_quota_error")),
    (429, error("Your account org-0 is suspended due to insufficient balance")),
    (402, error("This request requires more credits, or fewer max_tokens. You requested up to 9 tokens", code=402)),
    (402, error("Prompt tokens limit exceeded: 230799 > 91442. To increase, create a key with a higher monthly limit")),
    (403, error("Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys", code=403)),
    (429, error("Your team has either used all available credits or reached its monthly spending limit.")),
    (403, error("Your newly created team doesn't have any credits yet. You can purchase credits on ...")),
    (412, error("Account x is suspended, possibly due to reaching the monthly spending limit")),
    (429, error("insufficient quota: prepaid balance exhausted", code="quota_exhausted")),
    (400, error("Please add a payment method")),
    (403, error("This model requires a paid plan; add credits to continue")),
    (402, {"error": "You have exceeded your monthly included credits for Inference Providers."}),
    (400, error("Your credit balance is too low to access the Anthropic API.", type="invalid_request_error")),
    (429, error("Your prepayment credits are depleted.", status="RESOURCE_EXHAUSTED")),
    (401, error("You exceeded your current quota", type="insufficient_quota", code=401)),
    (429, error("You exceeded your current quota, please check your plan and billing details.")),
    (200, error("out of credits")),
    (402, error("whatever", code="rate_limit_exceeded")),
    (402, error("", code="1302")),
]


@pytest.mark.parametrize(("status", "payload"), MONEY_IS_MISSING)
def test_missing_money_is_402_and_never_retried(status: int, payload: Any) -> None:
    found = answered(status, payload, ((b"retry-after", b"5"), (b"x-should-retry", b"true")))
    assert (found.status, found.type) == MONEY
    assert dict(found.headers) == {"x-should-retry": "false"}


OTHER_CLASSES = [
    (402, error("upstream said: prompt is too long: 12 tokens > 10 maximum"), INVALID),  # of a relay
    # rates that read like money
    (429, error("Allocated quota exceeded, please increase your quota limit.", code="insufficient_quota"), RATE),
    (
        429,
        error("You exceeded your current quota, see https://help.aliyun.com/x", code="insufficient_quota"),
        RATE,
    ),
    (429, error("You exceeded your current quota, please check your plan", status="RESOURCE_EXHAUSTED"), RATE),
    (429, error("You exceeded your current quota. Please retry in 47.43s."), RATE),
    (429, error("Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 requests per day"), RATE),
    (429, error("Rate limit reached. You can increase it by adding a payment method to your account."), RATE),
    (429, error("Rate limit reached for tokens per minute: no credits are needed"), RATE),
    (429, error("Requests rate limit exceeded", code="Throttling.RateQuota"), RATE),
    (403, error("slow down", code="RateLimitExceeded.EndpointRPMExceeded"), RATE),
    (400, error("Invalid 'tools[3].function.description': 'Fails on insufficient balance'"), INVALID),
    (400, error("messages[2]: please recharge the battery: unexpected field"), INVALID),
    (400, error("x" * 900 + " insufficient balance"), INVALID),
    (400, error("Your request was flagged: insufficient balance between classes in training data"), INVALID),
    (500, error("the load balance is broken"), (500, "api_error")),
    # codes
    (429, error("too many", code="1302"), RATE),
    (200, error("too many", code="1305"), RATE),
    (429, error("Usage limit reached for 5 hour. Your limit will reset at 2026-12-01 10:00:00", code="1308"), RATE),
    (429, error("busy", code="1312"), BUSY),
    (400, error("no such model", code="1211"), MISSING),
    (429, error("not in your plan", code="1311"), FORBIDDEN),
    (200, error("bad token", code="1002"), OWN_KEY),
    (200, error("bad field", code="1214"), INVALID),
    (200, base_resp(1002, "rate limit"), RATE),
    (200, base_resp(1039, "token limit"), RATE),
    (200, base_resp(1001, "timeout"), (504, "timeout_error")),
    (200, base_resp(1004, "login fail"), OWN_KEY),
    (200, base_resp(2049, "invalid api key"), OWN_KEY),
    (200, base_resp(1013, "internal"), (500, "api_error")),
    (200, base_resp(2013, "invalid params"), INVALID),
    (200, base_resp(9999, "who knows"), (502, "api_error")),
    (429, error("overloaded", code="ServerOverloaded", type="TooManyRequests"), BUSY),
    (503, {"code": 50505, "message": "Model service overloaded. Please try again later.", "data": None}, BUSY),
    (400, {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None}, MISSING),
    (503, error("No available channel for model m under group default", code="model_not_found"), MISSING),
    (200, {"code": 500, "msg": "404 NOT_FOUND", "success": False}, (500, "api_error")),
    (200, {"status": "429", "msg": "slow down", "body": None}, RATE),
    (429, error("too many", type="rate_limit_reached_error"), RATE),
    (403, error("only for coding agents", type="access_terminated_error"), FORBIDDEN),
    # numbers that are no code of Z.ai's at their place
    (400, {"error": {"message": "no", "param": "1113"}}, INVALID),
    (403, error("no", code=11130), FORBIDDEN),
]


@pytest.mark.parametrize(("status", "payload", "expected"), OTHER_CLASSES)
def test_error_is_in_its_class_when_codes_or_words_tell(status: int, payload: Any, expected: tuple[int, str]) -> None:
    found = answered(status, payload)
    assert (found.status, found.type) == expected


@pytest.mark.parametrize(
    ("status", "payload"),
    [
        (429, error("Usage limit reached for 5 hour. It will reset at 10:00", code="1308")),
        (429, error("weekly", code=1310)),
        (200, base_resp(2056, "usage limit exceeded, 5-hour usage limit reached")),
        (429, error("You've reached kimi monthly usage limit", type="rate_limit_error")),
        (429, error("已达到每周使用上限", type="x")),
    ],
)
def test_limit_of_a_plan_is_a_429_that_the_client_does_not_repeat(status: int, payload: Any) -> None:
    found = answered(status, payload)
    assert (found.status, found.type) == RATE
    assert dict(found.headers)["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "message",
    [
        "The model `gpt-9` does not exist or you do not have access to it.",
        "model 'qwen9' not found, try pulling it first",
        "models/gemini-9 is not found for API version v1main",
        "No endpoints found for google/gemma-9:free.",
        "The API deployment for this resource does not exist.",
        "The model or endpoint doubao-9 does not exist or you do not have access to it. Request id: 1",
        "Not found the model kimi-9 or Permission denied",
        "模型 glm-9 不存在",
        "model: claude-9",
        "Unknown model m",
    ],
)
def test_404_stays_one_when_the_model_is_missing(message: str) -> None:
    found = answered(404, error(message))
    assert (found.status, found.type, found.message) == (*MISSING, message)


@pytest.mark.parametrize(
    "message",
    [
        "No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/",
        "No endpoints found that support image input",
        "No endpoints available matching your guardrail restrictions and data policy.",
        "No allowed providers are available for the selected model.",
        "This model is only supported in v1/responses and not in v1/chat/completions.",
        "This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
        "The model `gpt-4-0314` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations",
        "Your account 1 has not activated the model m. Please activate the model service in the Ark Console.",
        "The m model does not support the coding plan feature.",
        "Function '1': Not found for account '2'",
    ],
)
@pytest.mark.parametrize("status", [404, 410])
def test_404_is_a_400_when_its_words_must_be_read(status: int, message: str) -> None:
    found = answered(status, error(message, code=status))
    assert (found.status, found.type, found.message) == (*INVALID, message)


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail":"Not Found"}',
        b"404 page not found",
        b"",
        b"<html><title>404</title></html>",
        b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}',
        b'{"error":{"message":"Invalid URL (POST /v1/v1/chat/completions)","type":"invalid_request_error"}}',
        b'{"timestamp":"2026","status":404,"error":"Not Found","path":"/api/paas/v4/v1/chat/completions"}',
        b"Cannot POST /chat/completions",
    ],
)
def test_404_tells_of_the_base_url_when_the_path_is_missing(body: bytes) -> None:
    found = error_from_response(404, [], body, Profile())
    assert (found.status, found.type) == INVALID
    assert "upstream returned HTTP 404, as for a wrong address: most base URLs" in found.message


REFUSALS = [
    (400, error("unsafe", code="1301")),
    (400, error("Input data may contain inappropriate content.", code="DataInspectionFailed")),
    (400, error("x", code="data_inspection_failed")),
    (400, error("x", code="SensitiveContentDetected.Violence")),
    (400, error("x", code="InputTextSensitiveContentDetected")),
    (200, base_resp(1026, "input new_sensitive")),
    (200, base_resp(1027, "output new_sensitive")),
]


@pytest.mark.parametrize(("status", "payload"), REFUSALS)
def test_refusal_of_a_filter_is_told_apart(status: int, payload: Any) -> None:
    assert isinstance(answered(status, payload), PromptRefused)


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}

WAITS = [
    (error("no", status="RESOURCE_EXHAUSTED", details=[{"@type": "x"}, RETRY_INFO]), "35"),
    ([error("no", details=[RETRY_INFO])], "35"),
    (error("no", details=[{"retryDelay": {"seconds": 34, "nanos": 70}}]), "34"),
    (error("no", details=[{"metadata": {"quotaResetDelay": "2.463586755s"}}]), "3"),
    (error("no", retry_after_ms=2500), "3"),
    (error("no", retry_after=20), "20"),
    ({**error("no"), "retryAfter": "1m1.5s"}, "62"),
    (error("no", metadata={"retry_after_seconds": 7}), "7"),
    (error("no", metadata={"headers": {"Retry-After": "9"}}), "9"),
    (error("Please try again in 6m0s."), "360"),
    (error("Please try again in 1.234s. Visit https://x"), "2"),
    (error("try again in 750ms"), "1"),
    (error("Please retry after 20 seconds."), "20"),
    (error("Please retry your request after 1 minute and 5 seconds"), "65"),
    (error("Please try again after 1 seconds"), "1"),
    (error("Please retry in 47.434392449s."), "48"),
    (error("Your quota is exhausted, it resets in 1h2m3s"), "3723"),
    (error("Please wait 30 seconds before retrying."), "30"),
    (error("try again in about 2 minutes"), "120"),
    (error("请求过快，请在 15 秒后重试"), "15"),
]


@pytest.mark.parametrize(("payload", "seconds"), WAITS)
@pytest.mark.parametrize("status", [429, 503])
def test_time_to_wait_is_retry_after_in_whole_seconds(status: int, payload: Any, seconds: str) -> None:
    assert dict(answered(status, payload).headers)["retry-after"] == seconds


@pytest.mark.parametrize(
    "payload",
    [
        error("retried 3 times, timed out after 30 seconds"),
        error("try again later"),
        error("try again in a few minutes"),
        error("Please try again in 9999 days"),
        error("no", retry_after=10**12 // 7),
        error("no", retry_after=True),
        error("no", retry_after_ms="soon"),
        error("no", details=[{"retryDelay": [1]}]),
        error("Limit 30 per 60 seconds, try another model 5 minutes"),
    ],
)
def test_no_time_to_wait_is_made_up(payload: Any) -> None:
    assert "retry-after" not in dict(answered(429, payload).headers)


def test_time_to_wait_is_left_out_when_waiting_does_not_help() -> None:
    assert dict(answered(400, error("Please try again in 5s")).headers) == {}


def test_header_goes_before_the_body_when_both_tell_a_time() -> None:
    found = answered(429, error("try again in 50s", retry_after=40), ((b"retry-after", b"3"),))
    assert dict(found.headers) == {"retry-after": "3"}


CODED = [
    ({"code": 20012, "message": "Model does not exist", "data": None}, MISSING),
    ({"code": "Arrearage", "message": "no", "request_id": "1"}, MONEY),
    ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, RATE),
    ({"code": 500, "msg": "404 NOT_FOUND", "success": False}, (500, "api_error")),
    (base_resp(1008, "insufficient balance"), MONEY),
    ({**base_resp(1008), "choices": []}, MONEY),
    (error("too many", code="1302"), RATE),
]


@pytest.mark.parametrize(("payload", "expected"), CODED)
def test_error_in_place_of_an_answer_is_found_whole_and_streamed(payload: Any, expected: tuple[int, str]) -> None:
    with pytest.raises(ApiError) as caught:
        convert_response(payload, Context("m"))
    assert (caught.value.status, caught.value.type) == expected
    for begun in (False, True):
        converter = StreamConverter(Context("m"), "req_1")
        if begun:
            converter.feed(b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n')
        converter.feed(b"data: " + json.dumps(payload).encode() + b"\n\n")
        assert converter.error is not None
        assert (converter.error.status, converter.error.type) == expected


@pytest.mark.parametrize(
    "extra",
    [
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"base_resp": None},
        {"code": 0, "message": "success"},
        {"code": 1113, "message": "in arrears"},
        {"status": "completed", "msg": "done"},
    ],
)
def test_answer_is_none_the_worse_for_a_code_beside_it(extra: dict[str, Any]) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    assert convert_response({"choices": [choice], **extra}, Context("m"))["content"][0]["text"] == "Hi"
    converter = StreamConverter(Context("m"), "req_1")
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}], **extra}
    converter.feed(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")
    assert converter.error is None


@pytest.mark.parametrize("extra", [{"status": "in_progress", "message": "thinking"}, {"code": "", "message": "x"}, {}])
def test_event_without_choices_is_no_error_for_a_word_alone(extra: dict[str, Any]) -> None:
    converter = StreamConverter(Context("m"), "req_1")
    converter.feed(b"data: " + json.dumps({"id": "1", **extra}).encode() + b"\n\n")
    assert converter.error is None


def test_wait_is_told_in_an_error_that_comes_as_the_first_event() -> None:
    found = error_from_payload(error("slow down, try again in 3s", code=429))
    assert dict(found.headers) == {"retry-after": "3"}
