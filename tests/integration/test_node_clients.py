"""Clients of Anthropic's API that run on Node.js, through the proxy: each does a small job with a tool."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from integration.jobs import ANSWER, FOUND, QUESTION, Model, run
from support.providers.scripted import Answer, Reply, ScriptedProvider, ToolCall
from support.serving.proxied import proxied

PACKAGES = {
    "ai": "6",
    "@ai-sdk/anthropic": "3",
    "@anthropic-ai/claude-agent-sdk": "0",
    "opencode-ai": "1",
    "zod": "4",
}
LIMIT = 400.0  # seconds, for npm

AI_SDK = """
import { createAnthropic } from "@ai-sdk/anthropic";
import { generateText, stepCountIs, tool } from "ai";
import { z } from "zod";
const anthropic = createAnthropic({ baseURL: `${process.env.PROXY}/v1`, apiKey: "any-text" });
const look_up = tool({
  description: "Look a word up in the dictionary.", inputSchema: z.object({ word: z.string() }),
  execute: async () => "A tall tower with a lamp.",
});
const { MODEL, QUESTION } = process.env;
const job = { model: anthropic(MODEL), prompt: QUESTION, tools: { look_up }, stopWhen: stepCountIs(3) };
console.log((await generateText(job)).text);
"""

AGENT_SDK = """
import { createSdkMcpServer, query, tool } from "@anthropic-ai/claude-agent-sdk";
import { z } from "zod";
const look_up = tool("look_up", "Look a word up in the dictionary.", { word: z.string() },
  async () => ({ content: [{ type: "text", text: "A tall tower with a lamp." }] }));
const options = {
  pathToClaudeCodeExecutable: process.env.CLAUDE, allowedTools: ["mcp__words__look_up"],
  mcpServers: { words: createSdkMcpServer({ name: "words", version: "1", tools: [look_up] }) },
  env: {
    ...process.env, ANTHROPIC_BASE_URL: process.env.PROXY, ANTHROPIC_AUTH_TOKEN: "any-text",
    ENABLE_TOOL_SEARCH: "false",
  },
};
for await (const message of query({ prompt: process.env.QUESTION, options })) {
  if (message.type === "result") console.log(message.result);
}
"""


@pytest.fixture(scope="session")
def packages() -> Path:
    """The packages from npm, installed once for all runs. Without them the tests are skipped."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cc-boost-tests/node-clients"
    marker = cache / "installed.json"
    if marker.is_file() and json.loads(marker.read_text()) == PACKAGES:
        return cache
    npm = shutil.which("npm")
    if npm is None:
        return missing("npm is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", str(cache), "--ignore-scripts", "--no-audit", "--no-fund"]
    command += [f"{name}@{version}" for name, version in PACKAGES.items()]
    done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode != 0:
        return missing(done.stderr.strip()[-500:])
    marker.write_text(json.dumps(PACKAGES))
    return cache


def missing(reason: str) -> Path:
    if os.environ.get("CC_BOOST_REQUIRE_INTEGRATION") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def script(packages: Path, home: Path, source: str, **variables: str) -> str:
    """What a module says that imports the packages."""
    (home / "node_modules").symlink_to(packages / "node_modules")
    (home / "job.mjs").write_text(source)
    return run(home, ["node", "job.mjs"], **variables)


def test_ai_sdk_calls_a_tool(packages: Path, tmp_path: Path) -> None:
    with proxied(provider := Model()) as url:
        assert script(packages, tmp_path, AI_SDK, PROXY=url) == ANSWER
    provider.check()


def test_agent_sdk_calls_a_tool(packages: Path, tmp_path: Path, claude_program: Path) -> None:
    with proxied(provider := Model("mcp__words__look_up")) as url:
        assert script(packages, tmp_path, AGENT_SDK, PROXY=url, CLAUDE=str(claude_program)) == ANSWER
    provider.check()


def test_opencode_calls_a_tool(packages: Path, tmp_path: Path) -> None:
    def model(body: dict[str, Any]) -> Answer:
        if not body.get("tools"):
            return Reply("Lighthouses")  # the conversation's title
        if any(message["role"] == "tool" for message in body["messages"]):
            return Reply(ANSWER)
        return Reply(tool_calls=[ToolCall("bash", {"command": f"echo {FOUND}", "description": "Look it up"})])

    provider = ScriptedProvider(model)
    programs = [*packages.glob("node_modules/opencode-*/bin/opencode")]
    program = next(path for path in programs if "baseline" in str(path) or len(programs) == 1)
    with proxied(provider) as url:
        options = {"baseURL": f"{url}/v1", "apiKey": "any-text"}
        settings = {"provider": {"anthropic": {"options": options}}, "model": "anthropic/claude-sonnet-4-5"}
        (tmp_path / "opencode.json").write_text(json.dumps(settings))
        said = run(
            tmp_path,
            [str(program), "run", QUESTION],
            OPENCODE_DISABLE_MODELS_FETCH="1",
            OPENCODE_DISABLE_AUTOUPDATE="1",
        )
    assert ANSWER in said
    results = [
        message["content"] for body in provider.completions for message in body["messages"] if message["role"] == "tool"
    ]
    assert any(FOUND in str(result) for result in results)
