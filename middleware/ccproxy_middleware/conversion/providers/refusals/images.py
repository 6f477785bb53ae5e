"""Refusals of images: of all, of more than so many, of a format, of URLs, and of one that can't be read."""

import re

from ..profiles import Profile
from ..switch_values import IMAGE_FORMATS
from .rule import Clause, Patch, Rule, Sent, Words, content_lists, image_urls

_IMAGE = (
    r"(?:\bimages?\b|\bpictures?\b|image_url|input_image|\bvision\b|\bvisual\b|multi-?modal"
    r"|图片|图像|图文|视觉|多模态|识图)"
)
# A fault of an image, a refusal of something beside one, or a passing failure, where images as such are accepted.
_ELSE = (
    r"image (?:format|type)|image/|\bformats?\b|mime|(?<!_)\burls?\b|\bgenerat|\bedit|\bsizes?\b|dimension|resolution"
    r"|pixel|aspect|\bdetail\b|\d ?[km]i?b\b|bytes|larger|smaller|too (?:large|big|small)|base64|download|corrupt"
    r"|\bvideos?\b|\baudio\b|temperature|top_p|top_k|\btools?\b|function call|tool_choice|reasoning|thinking"
    r"|\bstream|\bstop\b|max_tokens|\bplan\b|\baccount\b|\buser\b|\bkey\b|organi[sz]ation|subscription"
    r"|\bpolicy\b|flagged|requests with|images? outputs?|\bhttps?\b|\bfetch|not an? (?:supported|valid) model"
    r"|permission|\bquota\b|balance|\bregion\b|per (?:minute|second|hour|day)|rate.?limit|\bagain\b|temporar"
    r"|connection|unavailable|overload|capacity|格式|类型错误|链接|生成|大小|尺寸|每分钟|余额|重试"
)
# A limit and its number, in this order.
_LIMIT = re.compile(
    r"(?:at most|up to|\bmax(?:imum)?\b|\blimit|exceed\w*|more than|\bonly\b|\bsupports?\b|\bset .?image=|>"
    r"|最多|不超过|不能超过|至多|超过|超出|上限|限制|仅支持|只支持)[^\d\n]{0,40}?(?<![A-Za-z0-9_.])(\d{1,4}|one|single|[单一])(?![A-Za-z0-9_]|\.\d)",
    re.IGNORECASE,
)


def _images(sent: Sent) -> bool:
    return bool(image_urls(sent))


def _remote_images(sent: Sent) -> bool:
    return any(not url.startswith("data:") for url in image_urls(sent))


def _several_images(sent: Sent) -> bool:
    return len(image_urls(sent)) > 1


def _listed_count(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """The largest limit in the refusal that is below the number sent."""
    count = len(image_urls(sent))
    limits = [int(found) if found.isdecimal() else 1 for found in _LIMIT.findall(match.string)]
    limit = max((limit for limit in limits if limit < count), default=None)
    if limit is None:
        return {}
    return {"images_max": limit} if limit else {"vision": False}


_FORMAT = re.compile(
    rf"(?<![a-z])(?:image/|\\.)?({'|'.join(map(re.escape, IMAGE_FORMATS))}|jpg|svg)(?![a-z])", re.IGNORECASE
)
_FORMATS = "|".join(("png", "jpe?g", "gif", "webp", "bmp", "tiff?", "avif", "hei[cf]", "svg"))
_LISTS = re.compile(
    r"(?<!un)(?<!not )(?<!in)(?<!不)(?:supported|allowed|accepted|valid|following|supports?|accepts?|only|must be"
    r"|should be|expected|one of|\buse|convert(?:ed)?(?: it)? (?:in)?to|支持|允许)",
    re.IGNORECASE,
)
_GIVEN = re.compile(r"\b(?:but|got|received|given|instead)\b", re.IGNORECASE)


def _formats(text: str) -> list[str]:
    names = (name.lower().replace("jpg", "jpeg") for name in _FORMAT.findall(text))
    return ["svg+xml" if name == "svg" else name for name in names]


def _listed_formats(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """The formats that the refusal lists as accepted, or all but those that it refuses.

    If all formats in the request are accepted, the format is not at fault.
    """
    given = {
        url[len("data:image/") : url.find(";")].lower() for url in image_urls(sent) if url.startswith("data:image/")
    }
    given = {name.replace("jpg", "jpeg") for name in given}
    text = match.string
    listing = next((found.end() for found in _LISTS.finditer(text) if _formats(text[found.end() :])), None)
    if (
        listing is not None
        and (taken := _formats(_GIVEN.split(text[listing:], maxsplit=1)[0]))
        and not set(_formats(text[:listing])) & set(taken)
    ):
        formats = tuple(dict.fromkeys(taken))
    elif refused := given.intersection(_formats(text)):
        formats = tuple(name for name in IMAGE_FORMATS if name not in refused)
    else:
        formats = _COMMON
    return {"image_formats": formats} if given - set(formats) else {}


_COMMON = ("png", "jpeg")  # what any vision model accepts

IN_RESULTS = Words(  # OpenAI and others, for images in tool results
    r"image[^.\n]{0,40} only allowed for messages with role @user",
    r"(?:role @tool|tool (?:message|result|role|output)s?)@?[^.\n]{0,60}image",
    r"image[^.\n]{0,60}tool (?:message|result|output)",
)

IMAGES = (
    # github.com/vllm-project/vllm/issues/17092, github.com/the-open-agent/openagent/issues/874,
    # github.com/microsoft/vscode/issues/306919, github.com/anthropics/claude-code/issues/24541,
    # github.com/anomalyco/opencode/issues/47721
    Rule(
        Clause(
            r"\bimages\b|image\(s\)|(?:\d|\bone|\bsingle) @?(?:image|picture)|number of image|image (?:count|item)"
            r"|\bmedia\b|图片|图像".replace("@", r"[\"'`]?"),
            _LIMIT.pattern,
            but=_ELSE,
        ),
        _images,
        _listed_count,
    ),
    Rule(  # of two sentences, or with a parameter's name
        Words(
            r"too many (?:images|pictures)[^\n]{0,80}[.;:] [^\n\d]{0,30}\b(?:max|limit|allow|up to)[^\n\d]{0,30}"
            r"\d{1,4}\b(?! ?[km]i?b)",
            r"you set @image=\d{1,4}\b[^\n]{0,80}limit-mm-per-prompt",
        ),
        _images,
        _listed_count,
    ),
    Rule(
        Words(
            r"(?:multiple|several|more than one) (?:images?|pictures?) (?:is|are) not (?:supported|allowed|accepted)",
            r"(?:not|n't) support (?:multiple|several|more than one) (?:images?|pictures?)",
            r"不支持多(?:张|个|幅)?(?:图片|图像|图)",
        ),
        _several_images,
        {"images_max": 1},
    ),
    Rule(Clause(r"too many (?:images|pictures)", but=_ELSE), _several_images, {"images_max": 1}, lasting=False),
    Rule(
        IN_RESULTS,
        lambda sent: any(
            message["role"] == "tool" and isinstance(message["content"], list) for message in sent["messages"]
        ),
        {"tool_images": "user_message"},
    ),
    Rule(
        Words(
            # Moonshot: github.com/OpenHands/software-agent-sdk/pull/3219
            r"unsupported image url",
            r"image url(?:s)? (?:is|are) not (?:currently )?supported",  # github.com/ollama/ollama, openai/openai.go
            # LM Studio: github.com/presidio-oss/cline-based-code-generator/issues/195
            r"@url@ field must be a base64",
            r"(?:image|url)[^\n]{0,60}(?:must be|should be|only supports?|only accepts?|required to be|expected)"
            r"[^\n]{0,30}(?:base64|data ?(?:url|uri))",
            r"(?:only|just) (?:supports? |accepts? )?(?:base64|data ?(?:url|uri))[^\n]{0,60}image",
            r"(?:remote|external|http|public|web)s? (?:image )?urls?[^\n]{0,40} not (?:supported|allowed|accepted)",
            r"image[^\n]{0,20}(?:by|from|via|as) (?:a )?(?:remote |http )?urls?[^\n]{0,30} not (?:supported|allowed)",
            r"\burl images? (?:is|are) not (?:supported|allowed|accepted)",
            r"(?:fetch|download|load)\w{0,3} [^\n]{0,20}(?:images?|urls?)[^\n]{0,40}"
            r" not (?:supported|allowed|permitted|enabled)",
            r"(?:http|https|remote|external) images?(?: links?)? (?:(?:is|are) )?"
            r"(?:not (?:supported|allowed|accepted)|disabled)",
            r"(?:must|should) (?:start|begin) with @data:",
            r"only data ur[il]s? (?:is|are)",
            r"invalid image input",  # Ollama
            r"(?:仅|只)支持\s?base64|不支持[^\n]{0,12}(?:图片|图像)?\s?(?:url|链接)",
        ),
        _remote_images,
        {"image_urls": "drop"},
    ),
    Rule(  # the provider could not fetch it
        Words(
            r"(?:fail(?:ed|ure)|unable|could not|cannot|error|timeout|timed out)[^\n]{0,30}"
            r"(?:download|fetch|load|retriev|access|open)\w{0,4}[^\n]{0,60}(?:image|url|http|file|media|content)",
            r"(?:下载|获取|访问)[^\n]{0,20}(?:图片|图像|url|文件)[^\n]{0,20}(?:失败|超时|错误)",
        ),
        _remote_images,
        {"image_urls": "drop"},
        lasting=False,
    ),
    Rule(
        Words(
            r"media_?type@?:? input should be",  # Claude: github.com/anomalyco/opencode/pull/5704
            r"(?:un|not )supported (?:image|file|media|mime|content)[ _-]?(?:format|type|mime)",  # Ollama, Gemini
            r"mime.?type[^\n]{0,30}(?:must be|not supported|unsupported|invalid|should be)[^\n]{0,80}image",
            r"(?:image|mime|media)[ _-]?(?:format|type|extension)[^\n]{0,60}"
            r"(?:not (?:supported|allowed|accepted|valid)|unsupported|invalid|illegal|must be|should be|expected)",
            r"image/[\w+.-]{2,12}@? (?:is |are )?(?:not (?:supported|allowed|accepted|recognized)|unsupported)",
            rf"(?<![a-z])(?:{_FORMATS}) (?:images?|files?|format)? ?(?:is|are) not (?:an? )?"
            r"(?:supported|allowed|accepted)",
            r"only @image/[^\n]{0,60}(?:accepted|supported|allowed)",
            rf"(?:invalid|unrecognized) (?:mime|media|content)[ _-]?type:? @image/|不支持\s?@(?:{_FORMATS})(?![a-z])",
            # OpenAI and others: github.com/XiaomiMiMo/MiMo-Code/issues/2411
            r"unsupported image\b[^\n]{0,120}formats?",
            r"(?:only|just)[^\n]{0,20} (?:png|jpe?g|gif|webp)[^\n]{0,60}",
            r"invalid image input",  # Ollama, which names no format
            r"图(?:片|像)(?:格式|类型)[^\n]{0,10}(?:不支持|错误|无效|不正确|只支持|仅支持)",
            r"不支持[^\n]{0,12}(?:图片|图像)?(?:格式|类型)",
        ),
        _images,
        _listed_formats,
    ),
    Rule(
        Words(
            # llama.cpp: github.com/ggml-org/llama.cpp/issues/13566 says it as all do; the rest have words of their own
            r"image_url is only supported by certain models",  # roboflow/awesome-openai-vision-api-experiments#11
            r"unknown variant @(?:image_url|input_image)",  # DeepSeek: github.com/rikkahub/rikkahub/issues/1433
            r"invalid value: @(?:image_url|input_image)@\. supported values are:? @(?:input_)?text",
            r"(?:is not|isn't)(?: an?)? (?:multi-?modal|vision)(?:[. ,;]|$)",
            r"\bno (?:vision|image) (?:tower|encoder|processor|projector)",
            r"(?:vision|image inputs?|images?) (?:is|are) not available (?:for|in|with|on) (?:this|the) model",
            r"image(?:s| inputs?| content)? requires? an? (?:vision|multi-?modal)",
            r"expected[^\n]{0,30}\btext\b[^\n]{0,10}(?:got|received) @image",
            r"纯文本模型|模型[^\n]{0,10}(?:无法|不能)(?:处理|识别|接收|理解|查看)图|(?:图片|图像)(?:输入|理解)?未支持",
            r"(?:not a|isn't a|non-?) ?(?:multi-?modal|vision|visual)(?:-language| language)? (?:model|llm)",  # vLLM
            r"only (?:supports? |accepts? |takes? )?(?:plain )?text (?:content|input|messages?|parts?)",
            r"\btext(?: input)? only\b",
            r"only (?:supports?|accepts?|takes?) (?:plain )?text(?! )",
            r"\btext-only\b",  # github.com/FlashML-org/FreeToken/issues/272
            r"not compiled for multimodal",  # llamafile: github.com/mozilla-ai/llamafile/issues/298
            r"content[^\n]{0,60} input should be @(?:input_)?text@?(?! or)",
            r"content[^\n]{0,40}取值范围[^\n]{0,4}\[@text@\]",  # Z.ai (1210)
            r"(?:model|endpoint|server|api)\b[^\n]{0,40} (?:cannot|can't|can not|not able to|unable to) "
            r"(?:process|read|handle|see|understand|view|interpret) (?:any )?"
            r"(?:images|image (?:inputs?|content)|pictures)",
        ),
        _images,
        {"vision": False},
    ),
    # Ollama, OpenRouter, Volcengine, llama.cpp and most others: github.com/ollama/ollama/issues/17301,
    # github.com/nexu-io/nexu/issues/733, github.com/zai-org/feedback/issues/570,
    # github.com/ggml-org/llama.cpp/issues/15377
    Rule(
        Clause(
            _IMAGE,
            r"(?:\bnot?|n't|never|cannot)\b(?: \w{1,16}){0,3} (?:support|accept|allow|permit|enabl|take\b|endpoints)"
            r"|\b(?:unsupported|disabled)"
            r"|\bnot an? (?:supported|allowed|accepted|valid) (?:content|part|input|message|modality)"
            r"|(?:(?:does not|doesn't) have|has no|lacks?) (?:any )?(?:image|vision|visual|multi-?modal) "
            r"(?:support|capab|input|under)"
            r"|\b(?:invalid|unexpected|unknown) (?:content|part|input|message|modality)"
            r"|不支持|不支援|无法处理|不能处理|不具备|未开启|未启用",
            but=_ELSE + r"|unsupported image\b|not a valid image",
        ),
        _images,
        {"vision": False},
    ),
    # Documents that are sent as files
    Rule(
        Words(
            r"unknown variant @(?:input_)?file\b",
            r"no endpoints found that support file input",
            r"(?:does(?: not|n't) support|unsupported|invalid|unexpected)[^.\n]{0,40}\b(?:pdf|files?|documents?)\b",
            r"(?:\bpdf|\bfile|\bdocument)s?@? (?:inputs?|content|parts?|uploads?)?(?: ?types?)? ?(?:is|are) not "
            r"(?:supported|allowed|accepted)",
            r"不支持[^\n]{0,8}(?:文件|文档|pdf)",
        ),
        lambda sent: any(part["type"] == "file" for content in content_lists(sent) for part in content),
        {"pdf": "text"},
    ),
    # One image can't be read, which implies nothing about others: first only the newest is sent, then none.
    *(
        Rule(
            Words(
                # Claude: github.com/anthropics/claude-code/issues/55200 and 2104; microsoft/vscode-copilot-vision#88
                rf"(?:could not|couldn't|unable to|cannot|can't|failed to|error|fail(?:ed)?) [^\n]{{0,30}}"
                rf"(?:process|load|decod|read|pars|open|identify)\w{{0,4}} [^\n]{{0,30}}{_IMAGE}",
                r"image(?:'s)?(?: (?:file|size|data|dimensions?|length and width|resolution|url|input|width|height))?"
                r"[^\n]{0,60}(?:exceed(?!\w{0,3} (?:the |your )?(?:quota|rate|plan|budget))"
                r"|too (?:large|small|big)|not (?:valid|a valid|meet)|invalid|corrupt|illegal"
                r"|damaged|malformed|broken|cannot be (?:opened|read|decoded|processed)|unreadable|does not match"
                r"|must be (?:larger|smaller|less))",
                r"(?:invalid|corrupt\w{0,4}|malformed|broken|illegal|bad|unreadable|truncated) (?:base64 )?"
                r"(?:image|picture)",
                r"unsupported image\b",  # Moonshot: github.com/MoonshotAI/kimi-code/pull/2368
                r"(?:not|does not represent) a valid image|(?:file|data) is not an? image|only image types are",
                r"unsupported (?:image|mime|media)[ _-]?(?:format|type)",
                # Z.ai (1210): github.com/gan/glm4v-assistant/issues/3
                r"图(?:片|像)[^\n]{0,16}(?:解析|读取|错误|失败|无效|损坏|过大|过小|超过|尺寸)",
            ),
            concerns,
            patch,
            lasting=False,
        )
        for concerns, patch in ((_several_images, {"images_max": 1}), (_images, {"vision": False}))
    ),
)
