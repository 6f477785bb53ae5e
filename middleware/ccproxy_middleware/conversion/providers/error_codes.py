"""Providers' own error codes, as data: what each means, whatever the HTTP status beside it.

Codes are in lower case. Those of MiniMax begin with ``base_resp:``, the field that contains them: as bare numbers they
have other meanings at Z.ai.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Meaning(NamedTuple):
    """An HTTP status with the same meaning.

    passing: whether waiting for a moment may help.
    refused: whether a content filter has refused the prompt or the answer.
    """

    status: int
    passing: bool = True
    refused: bool = False


REFUSED = Meaning(400, passing=False, refused=True)
MONEY = Meaning(402, passing=False)
RATE = Meaning(429)
PLAN = Meaning(429, passing=False)  # used up for hours or days
_BUSY = Meaning(529)
_BAD_REQUEST = Meaning(400, passing=False)
_NO_MODEL = Meaning(404, passing=False)
_NO_RIGHT = Meaning(403, passing=False)


# Codes that are more specific than the status they come with.
CODES: Mapping[str, Meaning] = {
    # OpenAI, and compatible gateways
    **dict.fromkeys(("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"), MONEY),
    **dict.fromkeys(("payment_required", "insufficient_credits", "insufficient_credit", "insufficient_funds"), MONEY),
    **dict.fromkeys(("insufficient_balance", "insufficient_balance_error", "not_enough_balance"), MONEY),
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error"), RATE),
    **dict.fromkeys(("overloaded", "overloaded_error", "server_overloaded"), _BUSY),
    **dict.fromkeys(("unavailable", "service_unavailable", "service_not_available"), _BUSY),
    **dict.fromkeys(("server_is_overloaded", "slow_down", "service_unavailable_error"), _BUSY),
    "content_filter": REFUSED,
    **dict.fromkeys(("bio_policy", "cyber_policy", "image_content_policy_violation"), REFUSED),
    "misalignment_policy_violation": REFUSED,
    **dict.fromkeys(("invalid_prompt", "data_residency_mismatch"), _BAD_REQUEST),
    "responsibleaipolicyviolation": REFUSED,  # Azure
    # Google: google.rpc.Code
    "resource_exhausted": RATE,
    # DeepSeek: its finish reason, and https://api-docs.deepseek.com/quick_start/error_codes (no money is HTTP 402)
    "insufficient_system_resource": _BUSY,
    # Moonshot: https://platform.moonshot.ai/docs/api/chat, "Error Explanation"
    "exceeded_current_quota_error": MONEY,
    "rate_limit_reached_error": RATE,
    **dict.fromkeys(("engine_overloaded", "engine_overloaded_error"), _BUSY),
    # Z.ai: https://docs.z.ai/api-reference/api-code, https://docs.bigmodel.cn/cn/api/api-code
    "1113": MONEY,  # in arrears, by HTTP 429
    "1309": MONEY,  # the coding plan has expired
    "1211": _NO_MODEL,
    "1301": REFUSED,
    **dict.fromkeys(("1302", "1303", "1305"), RATE),  # concurrency, frequency, traffic
    **dict.fromkeys(("1304", "1308", "1310", "1313"), PLAN),  # calls per day; per hours; per week; fair use
    "1311": _NO_RIGHT,  # the plan does not include this model
    "1312": _BUSY,
    # DashScope: https://www.alibabacloud.com/help/en/model-studio/error-code
    **dict.fromkeys(("arrearage", "allocationquota.freetieronly"), MONEY),
    **dict.fromkeys(("throttling", "limit_requests", "limit_burst_rate"), RATE),
    **dict.fromkeys(("datainspectionfailed", "data_inspection_failed"), REFUSED),
    # Volcengine: https://www.volcengine.com/docs/82379/1299023
    **dict.fromkeys(("accountoverdueerror", "operationdenied.serviceoverdue", "setlimitexceeded"), MONEY),
    **dict.fromkeys(("ratelimitexceeded", "accountratelimitexceeded", "modelaccountrpmratelimitexceeded"), RATE),
    "serveroverloaded": _BUSY,
    # SiliconFlow: answers of its API, as quoted in the issues of its clients
    "30001": MONEY,
    "20012": _NO_MODEL,
    **dict.fromkeys(("50505", "50603"), _BUSY),
    # new-api and one-api: types/error.go of github.com/QuantumNous/new-api
    **dict.fromkeys(("insufficient_user_quota", "pre_consume_token_quota_failed"), MONEY),
    # GitHub Models, Baidu, Databricks
    **dict.fromkeys(("ratelimitreached", "rpm_rate_limit_exceeded", "tpm_rate_limit_exceeded"), RATE),
    "request_limit_exceeded": RATE,
    # MiniMax: https://platform.minimax.io/docs/api-reference/errorcode
    "base_resp:1001": Meaning(504),
    **dict.fromkeys(("base_resp:1002", "base_resp:1039", "base_resp:1041"), RATE),  # requests, tokens, connections
    **dict.fromkeys(("base_resp:1004", "base_resp:2049"), Meaning(401, passing=False)),
    "base_resp:1008": MONEY,
    **dict.fromkeys(("base_resp:1026", "base_resp:1027"), REFUSED),  # the prompt, the answer
    **dict.fromkeys(("base_resp:1042", "base_resp:2013"), Meaning(400, passing=False)),
    "base_resp:2056": PLAN,
    "base_resp:2061": _NO_RIGHT,
    **dict.fromkeys(("base_resp:1000", "base_resp:1013", "base_resp:1024", "base_resp:1033"), Meaning(500)),
}

# Codes that supply a status if there is none: in the events of a stream, and in the body of a 200.
WEAK_CODES: Mapping[str, int] = {
    **dict.fromkeys(("invalid_request_error", "invalid_argument", "badrequesterror", "bad_request"), 400),
    **dict.fromkeys(("invalidparameter", "invalid_parameter_error", "1210", "1213", "1214"), 400),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "unauthenticated", "unauthorized"), 401),
    **dict.fromkeys(("invalidapikey", "1000", "1001", "1002", "1003", "1004"), 401),  # DashScope, Z.ai
    **dict.fromkeys(("permission_error", "permission_denied", "forbidden", "accessdenied", "1220"), 403),
    **dict.fromkeys(("not_found_error", "notfounderror", "not_found", "model_not_found"), 404),
    "conflict_error": 409,
    "request_too_large": 413,
    "toomanyrequests": 429,
    **dict.fromkeys(("timeout", "timeout_error", "deadline_exceeded", "requesttimeout"), 504),
    **dict.fromkeys(("server_error", "internal", "internal_error", "internal_server_error", "internalerror"), 500),
}


_ABOUT_IMAGES = re.compile(r"(?:\b|_)images?(?:\b|_)")


def meanings(codes: frozenset[str]) -> list[Meaning]:
    """The meanings of these codes. A code with parts, such as ``RateLimitExceeded.EndpointRPMExceeded``, may match by
    the first.
    """
    found = [CODES.get(code) or CODES.get(code.partition(".")[0]) for code in codes]
    if any(code.partition(".")[0].endswith("sensitivecontentdetected") for code in codes):  # Volcengine
        found.append(REFUSED)
    if REFUSED not in found and any(_ABOUT_IMAGES.search(code) for code in codes):  # OpenAI: invalid_base64_image
        found.append(_BAD_REQUEST)
    return [meaning for meaning in found if meaning is not None]
