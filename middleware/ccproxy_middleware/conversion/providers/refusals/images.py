"""Refusals of images: of all, of more than so many, of a format, of URLs, and of one that can't be read."""

import re

from ..profiles import Profile
from ..switch_values import IMAGE_FORMATS
from .rule import Patch, Rule, Sent, Words, image_urls

_IMAGE = r"(?:images?|pictures?|image_urls?|vision|multi-?modal)"
_NO = r"(?:no |not |n't |un|cannot |unable to |can't |don't )"


def _images(sent: Sent) -> bool:
    return bool(image_urls(sent))


def _remote_images(sent: Sent) -> bool:
    return any(not url.startswith("data:") for url in image_urls(sent))


def _several_images(sent: Sent) -> bool:
    return len(image_urls(sent)) > 1


_NUMBERS = {"one": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "ten": 10}


def _listed_count(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    found = next(filter(None, match.groups()))
    limit = int(found) if found.isdecimal() else _NUMBERS[found.lower()]
    if limit == 0:
        return {"vision": False}
    return {"images_max": limit} if limit < len(image_urls(sent)) else {}


_FORMAT = re.compile(
    rf"(?<![a-z])(?:image/|\\.)?({'|'.join(map(re.escape, IMAGE_FORMATS))}|jpg|svg)(?![a-z])", re.IGNORECASE
)
_LISTS = re.compile(
    r"(?<!un)(?<!not )(?:supported|allowed|accepted|valid|following|supports?|accepts?|only|must be|should be|expected"
    r"|one of|支持|允许)",
    re.IGNORECASE,
)


def _formats(text: str) -> list[str]:
    names = (name.lower().replace("jpg", "jpeg") for name in _FORMAT.findall(text))
    return ["svg+xml" if name == "svg" else name for name in names]


def _listed_formats(match: re.Match[str], sent: Sent, profile: Profile) -> Patch:
    """The formats that the refusal lists, or all but those that it refuses.

    If all of the request's are among those that are taken, the format is not at fault.
    """
    given = {
        url[len("data:image/") : url.find(";")].lower() for url in image_urls(sent) if url.startswith("data:image/")
    }
    given = {name.replace("jpg", "jpeg") for name in given}
    text = match.string
    listing = next((found.end() for found in _LISTS.finditer(text) if _formats(text[found.end() :])), None)
    if listing is not None and (taken := _formats(text[listing:])) and not set(_formats(text[:listing])) & set(taken):
        formats = tuple(dict.fromkeys(taken))
    elif refused := given.intersection(_formats(text)):
        formats = tuple(name for name in IMAGE_FORMATS if name not in refused)
    else:
        formats = _COMMON
    return {"image_formats": formats} if given - set(formats) else {}


_COMMON = ("png", "jpeg")  # what any model with eyes takes

IMAGES = (
    Rule(
        Words(
            r"at most (\d{1,4}) @?image",  # vLLM: github.com/vllm-project/vllm/issues/17092
            r"you set @?image=(\d{1,4})\b[^\n]{0,80}limit-mm-per-prompt",  # vLLM's older versions
            r"too many images[^\n]{0,80}?\bmax(?:imum)?(?: is| of|:)? (\d{1,4})",  # github.com/microsoft/vscode/issues/306919
            r"too many (?:images and documents|media): [^>\n]{1,60} > (\d{1,4})",  # Claude: anthropics/claude-code#24541
            r"images?, exceed(?:ing|s) the maximum of (\d{1,4})",  # github.com/anomalyco/opencode/issues/47721
            r"(?:maximum(?: number)?|max|limit|number) of (?:\w{1,12} )?images?[^\d\n]{0,60}?(?:is|to|of|:|exceeds?|than|=)"
            r" ?(?:the )?(?:limit |maximum )?(?:of )?(\d{1,4})\b",
            r"(?:only|up to|maximum(?: of)?|no more than|at most|limit(?:ed)?(?: to| of| is)?|supports?|max(?:imum)? is) "
            r"(?:only )?(?:up to )?(?:a )?(\d{1,4}|one|single|two|three|four|five|ten) @?(?:input )?images?\b",
            r"only (one) image|only a (single) image",
            r"(?:最多|不超过|不能超过|至多|仅支持|只支持|上限为?)\s?(?:支持|上传|传入|输入)?\s?(\d{1,4})\s?(?:张|个|幅)?(?:图|image)",
            r"图(?:片|像)(?:数量|个数|张数)[^\d\n]{0,20}(\d{1,4})",
        ),
        _images,
        _listed_count,
    ),
    Rule(
        Words(
            # Moonshot: github.com/OpenHands/software-agent-sdk/pull/3219
            r"unsupported image url",
            r"image url(?:s)? (?:is|are) not (?:currently )?supported",  # github.com/ollama/ollama, openai/openai.go
            # LM Studio: github.com/presidio-oss/cline-based-code-generator/issues/195
            r"@url@ field must be a base64",
            r"(?:image|url)[^\n]{0,60}(?:must be|should be|only supports?|only accepts?|required to be|expected)[^\n]{0,30}"
            r"(?:base64|data ?(?:url|uri))",
            r"(?:only|just) (?:supports? |accepts? )?(?:base64|data ?(?:url|uri))[^\n]{0,60}image",
            r"(?:remote|external|http|public|web)s? (?:image )?urls?[^\n]{0,40} not (?:supported|allowed|accepted)",
            r"image[^\n]{0,20}(?:by|from|via|as) (?:a )?(?:remote |http )?urls?[^\n]{0,30} not (?:supported|allowed)",
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
            r"(?:not (?:supported|allowed|accepted|valid)|unsupported|invalid|illegal|must be|should be)",
            r"image/[\w+.-]{2,12}@? (?:is |are )?(?:not (?:supported|allowed|accepted)|unsupported)",
            # OpenAI and others: github.com/XiaomiMiMo/MiMo-Code/issues/2411
            r"unsupported image\b[^\n]{0,120}formats?",
            r"(?:only|just)[^\n]{0,20} (?:png|jpe?g|gif|webp)[^\n]{0,60}",
            r"invalid image input",  # Ollama, which names no format
            r"图(?:片|像)(?:格式|类型)[^\n]{0,10}(?:不支持|错误|无效|不正确|只支持|仅支持)|不支持[^\n]{0,12}(?:图片|图像)?(?:格式|类型)",
        ),
        _images,
        _listed_formats,
    ),
    Rule(
        Words(
            # OpenRouter, Ollama, Volcengine, xAI and the like; github.com/zai-org/feedback/issues/570
            rf"{_NO}(?:\w{{1,12}} ){{0,3}}(?:supports?|supported|accepts?|allow(?:s|ed)?|process|read|handle|see|understand) "
            rf"(?:the |any |input of |{_IMAGE}[/, ]+(?:or |and )?|messages? with |requests? with |content type |@type@:? |@){{0,3}}"
            rf"{_IMAGE}\b@?(?! ?(?:generation|editing|edits?|urls?\b|formats?|types?|sizes?|dimensions?|detail|resolution|output"
            r"|of (?:type|format)|larger|smaller|with|bigger|over|above|in (?:tool|system|assistant)|inside|from|tokens))",
            r"no endpoints found that support image input",
            # llama.cpp: github.com/ggml-org/llama.cpp/issues/13566
            rf"{_IMAGE} (?:inputs?|content|parts?|capabilit\w+|support|messages?)?(?: ?blocks?)? ?(?:is|are)(?: currently)? "
            r"(?:not (?:supported|allowed|enabled|available|permitted|accepted)|unsupported|disabled)",
            # OpenAI: github.com/roboflow/awesome-openai-vision-api-experiments/issues/11
            r"image_url is only supported by certain models",
            # DeepSeek: github.com/rikkahub/rikkahub/issues/1433, github.com/BenedictKing/ccx/issues/95
            r"unknown variant @image_url",
            r"unsupported content(?: part)? type(?: for text-only server)?:? @image",  # github.com/FlashML-org/FreeToken/issues/272
            r"content@? ?type@? @image_url@ (?:is )?(?:not supported|unsupported|invalid|not allowed)",
            r"(?:not a|isn't a|non-?) ?(?:multi-?modal|vision|visual)(?:-language| language)? (?:model|llm)",  # vLLM
            r"(?:only (?:supports?|accepts?|takes?)|supports?|accepts?) (?:only )?(?:plain )?text(?:ual)?(?: input| content|-only| messages?)? only"
            r"|only (?:supports?|accepts?|takes?) (?:plain )?text",
            r"text-only (?:model|server|llm)",
            r"not compiled for multimodal",  # llamafile: github.com/mozilla-ai/llamafile/issues/298
            r"content[^\n]{0,60} input should be @text@?(?! or)",
            r"(?:模型|接口|服务|当前)?[^\n]{0,20}(?:不支持|不支援|无法处理|不能处理|不具备|暂不支持)[^\n]{0,6}"
            r"(?:图片|图像|图文|视觉|多模态|识图|image)(?!\s?(?:格式|类型|url|链接|生成|大小|尺寸|数量|编辑))",
        ),
        _images,
        {"vision": False},
    ),
    # One image can't be read, which says nothing of others: the newest is tried alone, then none.
    *(
        Rule(
            Words(
                # Claude: github.com/anthropics/claude-code/issues/55200 and 2104; microsoft/vscode-copilot-vision#88
                rf"(?:could not|couldn't|unable to|cannot|can't|failed to|error|fail(?:ed)?) [^\n]{{0,30}}"
                rf"(?:process|load|decod|read|pars|open|identify)\w{{0,4}} [^\n]{{0,30}}{_IMAGE}",
                r"image(?:'s)?(?: file| size| data| dimensions?| length and width| resolution| url| input| width| height)?[^\n]{0,60}"
                r"(?:exceed|too (?:large|small|big)|not (?:valid|a valid|meet)|do not meet|invalid|corrupt|illegal|damaged"
                r"|malformed|broken|cannot be (?:opened|read|decoded|processed)|unreadable|does not match|must be (?:larger|smaller|less))",
                r"(?:invalid|corrupt\w{0,4}|malformed|broken|illegal|bad|unreadable|truncated) (?:base64 )?(?:image|image_url|picture)",
                r"unsupported image\b",  # Moonshot: github.com/MoonshotAI/kimi-code/pull/2368
                r"(?:not a valid|does not represent a valid) image|(?:file|data) is not an? image|only image types are supported",
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
