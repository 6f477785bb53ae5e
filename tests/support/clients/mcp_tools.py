"""An MCP server on its standard streams with as many tools as its argument says: ``look_up_7`` tells the seventh word.

python mcp_tools.py 150
"""

import json
import sys
from typing import Any

DESCRIPTION = "Look a word up in the dictionary of that number, with its origin, its forms and examples of its use. "


def tool(number: int) -> dict[str, Any]:
    properties = {
        name: {"type": "string", "description": f"{name.capitalize()}: {DESCRIPTION}"}
        for name in ("word", "language", "century")
    }
    schema = {"type": "object", "properties": properties, "required": ["word"]}
    return {"name": f"look_up_{number}", "description": DESCRIPTION * 2, "inputSchema": schema}


def answer(method: str, params: dict[str, Any], number: int) -> dict[str, Any] | None:
    if method == "initialize":
        server = {"name": "words", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return {"tools": [tool(n) for n in range(number)]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": f"{params['name']} says: a tall tower with a lamp."}]}
    return {}


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            result = answer(request["method"], request.get("params", {}), int(sys.argv[1]))
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
