"""The tools that Anthropic defines and the client runs: their published schemas, as ordinary functions.

See https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview for each.
"""

from typing import Any

Schema = dict[str, Any]


def _string(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str) -> Schema:
    return {"type": "integer", "description": description}


_LINES = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 2,
    "maxItems": 2,
    "description": "The first and the last line to show, counted from 1; -1 as the last is the end of the file.",
}

_COMPUTER_ACTIONS = [
    "key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click",
    "triple_click", "left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "screenshot",
    "cursor_position", "zoom",
]  # fmt: skip


def client_tool(tool: dict[str, Any]) -> tuple[str, Schema] | None:
    """Description and parameters of a tool that is defined by its ``type`` alone; None for any other tool."""
    kind = str(tool.get("type"))
    if kind.startswith("bash_"):
        return _BASH
    if kind.startswith("text_editor_"):
        return _text_editor(undo=kind in ("text_editor_20241022", "text_editor_20250124"))
    if kind.startswith("memory_"):
        return _MEMORY
    if kind.startswith("computer_"):
        return _computer(tool)
    return None


_BASH = (
    "Run commands in a bash shell that keeps its state from call to call.",
    {
        "type": "object",
        "properties": {
            "command": _string("The command to run. Required unless the tool is being restarted."),
            "restart": {"type": "boolean", "description": "True starts a new shell in place of the old one."},
        },
    },
)

_MEMORY = (
    "Keep notes in files under /memories, which last from one conversation to the next.",
    {
        "type": "object",
        "properties": {
            "command": _string(
                "What to do.", enum=["view", "create", "str_replace", "insert", "delete", "rename"]
            ),
            "path": _string("The file or directory, for every command but rename."),
            "view_range": _LINES,
            "file_text": _string("The content of the file, for create."),
            "old_str": _string("The text to replace, for str_replace; it must occur once."),
            "new_str": _string("The text to put there, for str_replace."),
            "insert_line": _integer("The line after which to insert, for insert; 0 is the start."),
            "insert_text": _string("The text to insert, for insert."),
            "old_path": _string("The present path, for rename."),
            "new_path": _string("The new path, for rename."),
        },
        "required": ["command"],
    },
)  # fmt: skip


def _text_editor(*, undo: bool) -> tuple[str, Schema]:
    commands = ["view", "create", "str_replace", "insert", *(["undo_edit"] if undo else [])]
    return (
        "View, create and edit text files.",
        {
            "type": "object",
            "properties": {
                "command": _string("What to do.", enum=commands),
                "path": _string("The absolute path of the file or directory."),
                "view_range": _LINES,
                "file_text": _string("The content of the file, for create."),
                "old_str": _string("The text to replace, for str_replace; it must occur exactly once."),
                "new_str": _string("The text to put there, for str_replace, or to insert."),
                "insert_line": _integer("The line after which to insert, for insert; 0 is the start."),
                "insert_text": _string("The text to insert, for insert."),
            },
            "required": ["command", "path"],
        },
    )


def _computer(tool: dict[str, Any]) -> tuple[str, Schema]:
    point = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
    width, height = tool.get("display_width_px"), tool.get("display_height_px")
    return (
        f"Use a screen of {width} x {height} pixels, a mouse and a keyboard. Take a screenshot to see the result.",
        {
            "type": "object",
            "properties": {
                "action": _string("What to do.", enum=_COMPUTER_ACTIONS),
                "coordinate": {**point, "description": "The point [x, y] in pixels."},
                "start_coordinate": {**point, "description": "Where a drag begins, [x, y] in pixels."},
                "text": _string("The text to type, or the keys to press, such as ctrl+s."),
                "scroll_direction": _string("Which way to scroll.", enum=["up", "down", "left", "right"]),
                "scroll_amount": _integer("How many clicks of the wheel."),
                "duration": {"type": "number", "description": "Seconds to wait or to hold the key."},
                "region": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "minItems": 4,
                    "maxItems": 4,
                    "description": "The part of the screen to zoom to: [x0, y0, x1, y1].",
                },
            },
            "required": ["action"],
        },
    )
