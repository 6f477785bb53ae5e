"""What an error's message means if it has no code: missing money, a missing model, the time to wait."""

import re
from functools import cache

_READ = 600  # characters: quotations from the conversation come later

_MONEY = r"""(?x)
    insufficient\s+(?:\w+\s+){0,2}?(?:balance|credits?|funds)
    | \b(?:balance|credits?|funds)\s+(?:is|are|has|have)\s+(?:been\s+)?(?:\w+\s+){0,2}?
      (?:insufficient|too\s+low|depleted|exhausted|used\s+up|overdue|not\s+enough|negative)
    | not\s+enough\s+(?:balance|credits?|funds|money)
    | (?:out\s+of|no|requires?\s+more|more|any|purchase(?:\s+more)?|buy|add(?:\s+more)?|used\s+all(?:\s+\w+)?)\s+credits
    | included\s+credits                                                                # Hugging Face
    | overdue\s+(?:balance|payment|bill) | (?:payment|account|bill)\S*\s+(?:is\s+)?(?:overdue|in\s+arrears)
    | please\s+(?:recharge|top[\ -]?up) | recharge\s+(?:your|the)\s+account
    | (?:spending|spend|billing\s+hard|hard\s+billing|key)\s+limit | higher\s+monthly\s+limit
    | \b(?:balance|credits?|funds)\s+(?:exhausted|depleted|insufficient)
    | add\s+(?:a\s+)?payment\s+method | requires?\s+a\s+paid\s+(?:plan|subscription|account)
    | payment\s+(?:is\s+)?required | requires?\s+billing | billing\s+(?:to\s+be\s+enabled|is\s+not\s+active)
    | token\s+quota\s+(?:is\s+)?(?:not\s+enough|exhausted) | (?:user|account)\s+quota\s+(?:is\s+)?not\s+enough
    | (?:exhausted|consumed|used\s+up)\b.{0,40}?\bfree\s+(?:tier|trial|quota)
    | free\s+(?:tier|trial|quota)\b.{0,60}(?:exhausted|consumed|used\s+up)
    | 余额不足|额度不足|额度已用尽|已欠费|欠费|请充值|余额为负
    """
_QUOTA = r"exceeded your current quota"  # OpenAI's wording for money, Gemini's for a rate
_RATE = r"rate.{0,2}limit|\bper[ -](?:second|minute|hour|day)\b|\b[rt]p[smd]\b"
# DashScope uses OpenAI's code for missing money when the tokens of a minute are used up.
_RATE_DESPITE_CODE = r"allocated quota exceeded|(?:aliyun|alibabacloud)\.com\S*|too many requests"
# A plan's limit, which is reset after hours or days.
_PLAN = (
    r"usage limit|(?:daily|weekly|monthly|hour(?:ly)?)\s+(?:\w+\s+)?(?:limit|quota)|quota will reset"
    r"|使用上限|今日调用次数"
)
_ACCOUNT = r"\b(?:accounts?|credits?|billing|recharge|top.?up|payment)\b|余额|额度|欠费|充值"
_ABOUT_REQUEST = r"\b(?:invalid|tools?|functions?|schema|param\w*|arguments?|fields?|messages?\b\W)"

_NO_MODEL = (
    r"\b(?:models?|deployment|engine|endpoint)\b.{0,200}?"
    r"(?:(?:does|do|did)(?: not|n't) exist|not exist|not (?:be )?found|is unknown|is not available|no longer available)"
    r"|(?:unknown|no such|cannot find|can't find|could not find|not found the|invalid|unsupported) model\b"
    r"|\bmodel: \S+$|no endpoints found for |no available channel for model|model_not_found|not a valid model"
    r"|模型.{0,80}(?:不存在|无可用渠道|未找到)|无效的模型"
)
# The model is named, but a missing model is not the problem.
_NOT_MODEL = (
    r"endpoints (?:found|available) (?:that|matching)|allowed providers|activate|only supported in|not a chat model"
    r"|(?:does|do)(?: not|n't) support|not supported in|deprecat|end of life|data policy|guardrail|coding plan"
)
_NO_PATH = (
    r"\W*(?:404)?\W*(?:(?:page|file|url|path|route|endpoint|resource) )?not found\W*"
    r"|.{0,40}\bcannot (?:post|get) /.*|.{0,40}\bno (?:such )?(?:route|path)\b.*"
    r"|.{0,40}(?:invalid|unknown|unrecognized) (?:request )?(?:url|path|route|endpoint)\b.*"
)

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_UNIT = r"(?:ms|milliseconds?|minutes?|mins?|m|seconds?|secs?|s|hours?|h|days?|d)(?![a-z])"
_DURATION = rf"({_NUMBER})\s{{0,3}}({_UNIT})"
_WAIT = (
    r"(?:\b(?:try|retry|available|back)(?:\s+(?:again|your|the|this|request)){0,4}|\bwait|\bresets?)\s+"
    r"(?:(?:in|after|for|at|least|about|approximately|another)\s+){0,4}"
    rf"(?P<time>(?:{_NUMBER}\s{{0,3}}{_UNIT}(?:\s|,|and){{0,6}}){{1,4}})"
)
_WAIT_CHINESE = r"(\d{1,9}(?:\.\d{1,9})?)\s{0,3}(毫秒|秒|分钟|小时)\s{0,3}(?:之后|以后|后)"
_CHINESE = {"毫秒": 0.001, "秒": 1.0, "分钟": 60.0, "小时": 3600.0}


def says_money(message: str, status: int | None, *, is_rate: bool) -> bool:
    """Whether an error is about money. ``is_rate``: something else shows that it is a rate, such as a time to wait."""
    text = message[:_READ]
    if status in (400, 422) and (_compiled(_ABOUT_REQUEST).search(text) or not _compiled(_ACCOUNT).search(text)):
        return False  # it may quote the conversation
    if _compiled(_MONEY).search(text):
        return _compiled(_RATE).search(text) is None
    return not is_rate and _compiled(_QUOTA).search(text) is not None and not says_rate(text)


def says_rate(message: str) -> bool:
    """Whether a limit reported with the code for missing money is a rate limit."""
    return _compiled(_RATE_DESPITE_CODE).search(message[:_READ]) is not None


def says_plan(message: str) -> bool:
    """Whether a plan's limit is used up, so that a short wait does not help."""
    return _compiled(_PLAN).search(message[:_READ]) is not None


def says_no_model(message: str) -> bool:
    """Whether it is the model that does not exist."""
    text = message[:_READ]
    return _compiled(_NO_MODEL).search(text) is not None and _compiled(_NOT_MODEL).search(text) is None


def says_no_path(message: str) -> bool:
    """Whether it is the URL that does not exist, judging by the message."""
    return not message or _compiled(_NO_PATH).fullmatch(message[:_READ]) is not None


def says_wait(message: str) -> float | None:
    """The seconds after which to retry: ``try again in 6m0s``, ``Please retry after 20 seconds``."""
    text = message[: 4 * _READ]
    if found := _compiled(_WAIT).search(text):
        return sum(float(number) * _unit(unit) for number, unit in _compiled(_DURATION).findall(found["time"]))
    if found := _compiled(_WAIT_CHINESE).search(text):
        return float(found[1]) * _CHINESE[found[2]]
    return None


def _unit(word: str) -> float:
    word = word.lower()
    return _UNITS["ms"] if word.startswith(("ms", "milli")) else _UNITS[word[0]]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern when the first error is read: compiling all of them would noticeably slow down the start."""
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)
