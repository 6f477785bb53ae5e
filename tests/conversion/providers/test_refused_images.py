"""Images that a provider refuses: which of them stay away from then on, in the provider's own words."""

from typing import Any

import pytest

from ccproxy_middleware.conversion.chat.content import NO_VISION
from ccproxy_middleware.conversion.providers.learned import LearnedProfiles
from ccproxy_middleware.conversion.providers.switch_values import IMAGE_FORMATS
from support.providers.openai_rules import error_body
from support.providers.refusals import MODEL, Case, convert, find, find_whole


def image(media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": "iVBORw0KGgo="}}


REMOTE = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
ASK_ALONE = {"role": "user", "content": "Look."}
ASK = {"type": "text", "text": "What is this?"}


def shots(*images: dict[str, Any]) -> dict[str, Any]:
    """A conversation with one image after the other."""
    messages: list[dict[str, Any]] = []
    for shot in images:
        messages += [{"role": "user", "content": [shot, ASK]}, {"role": "assistant", "content": "A dot."}]
    return {"messages": messages[:-1]}


ONE = shots(image())
MANY = shots(*[image()] * 60)
BLIND = {"vision": False}

# The model can't see

BLIND_MODELS = [
    Case("llama.cpp", "ggml-org/llama.cpp#13566",
         {"error": {"code": 500, "message": "image input is not supported by this server", "type": "server_error"}},
         BLIND, ONE, status=500),
    Case("llama.cpp-newer", "ggml-org/llama.cpp#15377",
         {"error": {"code": 500, "type": "server_error", "message": "image input is not supported - hint: if this is "
                    "unexpected, you may need to provide the mmproj"}},
         BLIND, ONE, status=500),
    Case("volcengine", "zai-org/feedback#570", "Model do not support image input.", BLIND, ONE),
    Case("freetoken", "FlashML-org/FreeToken#272", "Unsupported content part type for text-only server: image_url",
         BLIND, ONE),
    Case("openai", "roboflow/awesome-openai-vision-api-experiments#11",
         "Invalid content type. image_url is only supported by certain models.", BLIND, ONE),
    Case("deepseek", "rikkahub/rikkahub#1433",
         "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `image_url`, expected "
         "`text` at line 1 column 679289", BLIND, ONE),
    Case("ollama", "ollama/ollama#17301",
         {"error": "this model does not support image input (ref: b8bd630e-4a39-4b57-82af-9158ee9d5703)"}, BLIND, ONE),
    Case("openrouter", "nexu-io/nexu#733",
         {"error": {"message": "No endpoints found that support image input", "code": 404}}, BLIND, ONE, status=404),
    Case("llamafile", "mozilla-ai/llamafile#298",
         "The server was not compiled for multimodal or the model projector can't be loaded.", BLIND, ONE, status=500),
    Case("vllm", "vllm-project/vllm#23402", "internlm/Intern-S1 is not a multimodal model", BLIND, ONE),
    Case("vllm-none", "as vllm-project/vllm#17092", "At most 0 image(s) may be provided in one request.", BLIND, ONE),
    Case("xai", "", "Image inputs are not supported by this model.", BLIND, ONE),
    Case("bedrock", "", "This model doesn't support the image content block that you provided.", BLIND, ONE),
    Case("text-only", "", "This model only supports text input", BLIND, ONE, status=422),
    Case("mistral", "", "Image input is not enabled for this model", BLIND, ONE),
    Case("moderate", "", "The requested model does not support vision.", BLIND, ONE),
    Case("content", "", "Content type 'image_url' is not supported by model qwen3-coder", BLIND, ONE),
    Case("parts", "", "1 validation errors: 'messages', 1, 'content', 'type': Input should be 'text'", BLIND, ONE),
    Case("chinese", "", "当前模型不支持图片输入", BLIND, ONE),
    Case("chinese-modal", "", "该模型不支持多模态输入，请使用视觉模型", BLIND, ONE),
    Case("chinese-understanding", "", "模型 glm-4.7 暂不支持图像理解", BLIND, ONE),
    *(
        Case(words, "", words, BLIND, ONE)
        for words in (
            "This model is not multimodal", "The model cannot handle image content", "Model has no vision tower",
            "vision is not available for this model", "image inputs require a vision model",
            "Expected content to be text, got image_url", "该模型为纯文本模型，不能接收图片", "当前模型无法识别图片",
        )
    ),
    Case("received", "", "this model is text-only and received image content", BLIND, ONE),
    Case("zai", "", {"error": {"code": "1210", "message": "messages.content.type 参数非法，取值范围 ['text']"}}, BLIND,
         ONE),
    Case("not-implemented", "", "Images are not supported by this model", BLIND, ONE, status=501),
    Case("gateway", "", "upstream: this model does not support image input", BLIND, ONE, status=502),
    Case("relay", "", error_body('{"type":"error","error":{"type":"invalid_request_error","message":"This model does '
         'not support images"}}', code="rate_limit_error"), BLIND, ONE, status=429),
]  # fmt: skip

# Too many

COUNTS = [
    Case("vllm", "vllm-project/vllm#17092",
         {"object": "error", "message": "At most 5 image(s) may be provided in one request.",
          "type": "BadRequestError", "param": None, "code": 400}, {"images_max": 5}, MANY),
    Case("vllm-older", "as vllm-project/vllm#17092",
         "You set image=1 (or defaulted to 1) in `--limit-mm-per-prompt`, but passed 60 image items in the same "
         "prompt.", {"images_max": 1}, MANY),
    Case("openai", "the-open-agent/openagent#874", "Too many images in request. Max is 10.", {"images_max": 10}, MANY),
    Case("copilot", "microsoft/vscode#306919",
         "Too many images in request: 60 images provided, but the model supports a maximum of 10 images.",
         {"images_max": 10}, MANY),
    Case("copilot-older", "microsoft/vscode#303825",
         "The request contains too many images: 60 images were provided, but the model supports a maximum of 10 "
         "images.", {"images_max": 10}, MANY, status=413),
    Case("meta", "anomalyco/opencode#47721",
         "Error from provider (Console): Upstream request failed: [invalid_request_error] request contains 60 images, "
         "exceeding the maximum of 50 allowed per request", {"images_max": 50}, MANY),
    Case("claude", "anthropics/claude-code#24541", "too many images and documents: 60 + 0 > 20", {"images_max": 20},
         MANY),
    Case("claude-media", "anthropics/claude-code#24541", "Too much media: 0 document pages + 60 images > 20",
         {"images_max": 20}, MANY),
    Case("groq", "", "Too many images provided. This model supports up to 5 images", {"images_max": 5}, MANY),
    Case("together", "", "This model supports only one image per request", {"images_max": 1}, MANY),
    Case("limit", "", "The maximum number of images is 8, got 60", {"images_max": 8}, MANY),
    Case("number", "", "Number of images (60) exceeds the limit of 16", {"images_max": 16}, MANY),
    Case("chinese-single", "", "仅支持单张图片", {"images_max": 1}, MANY),
    Case("multiple", "", "Multiple images are not supported", {"images_max": 1}, MANY),
    Case("sentence", "", "Too many images: 60. The maximum is 10.", {"images_max": 10}, MANY),
    Case("chinese", "", "图片数量超过限制，最多支持 5 张图片", {"images_max": 5}, MANY),
]  # fmt: skip

# Formats

WEBP = shots(image(), image("image/webp"))
FORMATS = [
    Case("claude", "anomalyco/opencode#5704",
         "messages.10.content.3.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' "
         "or 'image/webp'", {"image_formats": ("jpeg", "png", "gif", "webp")}, shots(image("image/bmp"))),
    Case("openai-like", "XiaomiMiMo/MiMo-Code#2411",
         ".messages[46].image[0]: You have uploaded an unsupported image. Please make sure your image is valid and has "
         "one of the following formats: webp, png, jpeg, and gif.",
         {"image_formats": ("webp", "png", "jpeg", "gif")}, shots(image("image/tiff"))),
    Case("gemini", "EvanZhouDev/gemini-ai#3",
         "* GenerateContentRequest.contents[0].parts[1].inline_data.mime_type: MIME type must be image/png, "
         "image/jpeg, image/webp, image/heic, or image/heif.",
         {"image_formats": ("png", "jpeg", "webp", "heic", "heif")}, shots(image("image/gif"))),
    Case("gemini-refused", "google-gemini/deprecated-generative-ai-python#425", "Unsupported MIME type: image/webp",
         {"image_formats": tuple(name for name in IMAGE_FORMATS if name != "webp")}, WEBP),
    Case("ollama", "andrewnguonly/Lumos#132", {"error": "unsupported image format"},
         {"image_formats": ("png", "jpeg")}, WEBP),
    Case("png-alone", "", "Unsupported image format 'webp': only PNG and JPG images are supported",
         {"image_formats": ("png", "jpeg")}, WEBP),
    Case("supported", "", "Image format image/webp is not supported. Supported formats: image/png, image/jpeg",
         {"image_formats": ("png", "jpeg")}, WEBP),
    *(
        Case(words, "", words, {"image_formats": tuple(name for name in IMAGE_FORMATS if name != "webp")}, WEBP)
        for words in (
            "webp images are not supported", "WEBP is not a supported image format", "Invalid MIME type 'image/webp'",
            "不支持 webp 格式的图片",
        )
    ),
    Case("only-types", "", "Only image/png and image/jpeg are accepted", {"image_formats": ("png", "jpeg")}, WEBP),
    Case("use", "", "image format webp is not supported, please use jpg/png", {"image_formats": ("jpeg", "png")}, WEBP),
    Case("but-got", "", "invalid image format: expected jpeg or png but got webp", {"image_formats": ("jpeg", "png")},
         WEBP),
    Case("chinese", "", "图片格式不支持，仅支持 png、jpg", {"image_formats": ("png", "jpeg")}, WEBP),
]  # fmt: skip

URLS = [
    Case("moonshot", "OpenHands/software-agent-sdk#3219",
         "Invalid request: unsupported image url: https://user-images.githubusercontent.com/a.png",
         {"image_urls": "drop"}, shots(image(), REMOTE)),
    Case("lm-studio", "presidio-oss/cline-based-code-generator#195", "'url' field must be a base64 encoded image.",
         {"image_urls": "drop"}, shots(REMOTE)),
    Case("ollama", "openai/openai.go of ollama/ollama", {"error": "invalid image input"}, {"image_urls": "drop"},
         shots(REMOTE)),
    Case("ollama-newer", "openai/openai.go of ollama/ollama",
         {"error": "image URLs are not currently supported, please use base64 encoded data instead"},
         {"image_urls": "drop"}, shots(REMOTE)),
    Case("only-base64", "", "Only base64 encoded images are supported", {"image_urls": "drop"}, shots(REMOTE)),
    Case("url-images", "", "URL images are not supported; please send base64 data", {"image_urls": "drop"},
         shots(REMOTE)),
    *(
        Case(words, "", words, {"image_urls": "drop"}, shots(REMOTE))
        for words in (
            "image_url.url must start with data:image", "Only data URLs are supported",
            "http image links not supported", "remote images are disabled",
        )
    ),
    Case("fetching", "", "Fetching images over plain http is not allowed", {"image_urls": "drop"}, shots(REMOTE)),
    Case("remote", "", "Remote image URLs are not allowed", {"image_urls": "drop"}, shots(REMOTE)),
    Case("chinese", "", "图片仅支持 base64 编码", {"image_urls": "drop"}, shots(REMOTE)),
]  # fmt: skip

LASTING = [*BLIND_MODELS, *COUNTS, *FORMATS, *URLS]

# One image, not the model

BROKEN = [
    Case("claude", "anthropics/claude-code#55200", "Could not process image", BLIND, ONE),
    Case("claude-size", "anthropics/claude-code#2104",
         "messages.120.content.0.image.source.base64: image exceeds 5 MB maximum: 9427836 bytes > 5242880 bytes",
         BLIND, ONE),
    Case("claude-data", "microsoft/vscode-copilot-vision#88",
         "messages.0.content.1.image.source.base64.data: The image specified was not valid", BLIND, ONE),
    Case("openai", "vercel/ai#1544",
         "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png', "
         "'jpeg', 'gif', 'webp'].", BLIND, ONE),
    Case("zai", "gan/glm4v-assistant#3", {"error": {"code": "1210", "message": "图片输入格式/解析错误"}}, BLIND, ONE),
    Case("kimi", "MoonshotAI/kimi-code#2368", "Unsupported image.", BLIND, ONE),
    Case("alibaba", "",
         "<400> InternalError.Algo.InvalidParameter: The image length and width do not meet the model restrictions. "
         "[height:8 or width:7 must be larger than 10]", BLIND, ONE),
    Case("gemini", "", "Unable to process input image. Please retry or report in", BLIND, ONE),
    Case("llama.cpp", "", "Failed to load image or audio file", BLIND, ONE, status=500),
    Case("dimensions", "", "image dimensions exceed max allowed size: 8000 pixels", BLIND, ONE),
    Case("several", "as anthropics/claude-code#55200", "Could not process image", {"images_max": 1}, WEBP),
    Case("download", "", "Failed to download image from https://example.com/a.png: 404", {"image_urls": "drop"},
         shots(image(), REMOTE)),
]  # fmt: skip


PDF = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
                ASK,
            ],
        }
    ]
}
FILES = [
    "Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `file`, expected `text`",
    "This model does not support PDF input",
    "File content is not supported by this model",
    "Invalid content type: file",
    "当前模型不支持文件输入",
]


@pytest.mark.parametrize(
    "words",
    [
        "Image URLs are only allowed for messages with role 'user', but this message with role 'tool' "
        "contains an image",
        "tool messages do not support images",
    ],
)
def test_images_in_results_follow_them_when_results_take_none(words: str) -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image()]}
    messages = [ASK_ALONE, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    case = Case("", "", words, {}, {"messages": messages}, options={"tool_images": "tool_content"})
    assert find_whole(case) == {"tool_images": "user_message"}
    assert find(Case("", "", words, {}, {"messages": messages})) is None


@pytest.mark.parametrize("words", FILES)
def test_documents_go_as_text_when_no_files_are_taken(words: str) -> None:
    correction = find_whole(Case("", "", words, {}, PDF, options={"pdf": "file"}))
    assert correction == {"pdf": "text"}
    assert find(Case("", "", words, {}, ONE, options={"pdf": "file"})) is None


@pytest.mark.parametrize("case", LASTING, ids=lambda case: f"{next(iter(case.patch))}-{case.name}")
def test_images_are_left_out_from_then_on_when_the_model_takes_none_of_the_kind(case: Case) -> None:
    correction = find_whole(case)
    assert correction == case.patch
    assert correction.lasting
    changed = convert(case, LearnedProfiles(case.profile).get(MODEL, case.patch))
    assert "[image omitted: this model does not accept " in str(changed["messages"])


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_image_that_cannot_be_read_is_left_out_of_its_request_only(case: Case) -> None:
    correction = find_whole(case)
    assert correction == case.patch
    assert not correction.lasting


@pytest.mark.parametrize("case", [*LASTING, *BROKEN], ids=lambda case: case.name)
def test_words_about_images_teach_nothing_when_none_was_sent(case: Case) -> None:
    assert find(Case(case.name, case.source, case.body, {}, status=case.status)) is None


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit reached for images per minute: Limit 5, Used 5",
        "Image generation is not supported by this model",
        "This model does not support image generation",
        "The model does not support image output; set modalities to ['text']",
        "images are not allowed by our usage policy: content flagged",
        "no more than 3 requests with images at once",
        "'image-model' is not a supported model, valid: text",
        "Fetching images over plain http is not allowed",
        "The request's image tokens exceed your quota",
        "This model does not support tools",
        "This model does not support video input",
        "Unknown parameter: 'frequency_penalty'.",
        "The model does not support temperature with images",
        "Insufficient balance to use the vision model",
        "The image model is overloaded",
        "The image encoder worker 3 is over capacity",
        "The image service does not accept connections",
        "Vision is temporarily disabled, try again later",
        "prompt is too long: 300000 tokens > 200000 maximum",
        "At most 128 tools may be provided in one request.",
        "Too many requests. Max is 10.",
        "Your request was rejected by the safety system: the image may show a person",
        "max_tokens must be at most 4096",
        "An error occurred while processing your request",
        "工具数量超过限制，最多支持 128 个",
    ],
)
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500])
def test_other_words_take_no_image_away(words: str, status: int) -> None:
    found = find(Case("other", "", words, {}, MANY, status=status)) or {}
    assert not found.keys() & {"vision", "images_max", "image_formats", "image_urls", "content_parts"}


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_failure_of_another_kind_takes_no_image_away(status: int) -> None:
    body = error_body("This model does not support image input for your plan", code="insufficient_quota")
    assert find(Case("other", "", body, {}, ONE, status=status)) is None


@pytest.mark.parametrize(("limit", "left"), [(1, [2]), (2, [1, 2]), (3, [0, 1, 2]), (0, [])])
def test_newest_images_stay_when_there_may_be_only_so_many(limit: int, left: list[int]) -> None:
    case = Case("", "", "", {}, shots(image(), image("image/gif"), image("image/webp")), options={"images_max": limit})
    messages = convert(case, case.profile)["messages"]
    users = [message for message in messages if message["role"] == "user"]
    assert [n for n, message in enumerate(users) if "image_url" in str(message)] == left
    assert all("more than" in str(message) for n, message in enumerate(users) if n not in left)


def test_images_in_results_of_tools_count_too() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [image("image/gif")]}
    messages = [*ONE["messages"], {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    case = Case("", "", "", {}, {"messages": messages}, options={"images_max": 1})
    sent = convert(case, case.profile)["messages"]
    assert "more than 1 images" in str(sent[0])
    assert [part["type"] for part in sent[-1]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("options", "block", "note"),
    [
        ({"vision": False}, image(), NO_VISION),
        ({"image_urls": "drop"}, REMOTE, "[image omitted: this model does not accept images by URL]"),
        ({"image_formats": ["png"]}, image("image/JPG"),
         "[image omitted: this model does not accept images of type image/JPG]"),
    ],
)  # fmt: skip
def test_note_says_what_is_missing(options: dict[str, Any], block: dict[str, Any], note: str) -> None:
    case = Case("", "", "", {}, shots(block), options=options)
    assert note in str(convert(case, case.profile)["messages"])


def test_format_is_told_by_its_name_whichever_way_it_is_written() -> None:
    case = Case("", "", "", {}, shots(image("image/jpg")), options={"image_formats": ["jpeg"]})
    assert "image_url" in str(convert(case, case.profile)["messages"])
