"""Reading the planner's sections, however they are dressed and cut."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_middleware.boost.plan import Plan, PlanReader, read_plan


def summary(text: str) -> Plan:
    return Plan("SUMMARY", summary=text)


def guidance(text: str, analysis: str = "") -> Plan:
    return Plan("GUIDANCE", analysis=analysis, guidance=text)


def other(analysis: str = "") -> Plan:
    return Plan("OTHER", analysis=analysis)


CASES = {
    "summary": ("SUMMARY: Done.\n", summary("Done.")),
    "summary below": ("SUMMARY:\n\nDone.\nAll of it.\n\n", summary("Done.\nAll of it.")),
    "lower case": ("summary: Done.", summary("Done.")),
    "bold with colon inside": ("**SUMMARY:** It *works*.", summary("It *works*.")),
    "bold with colon outside": ("**Summary**: **All** of it.", summary("**All** of it.")),
    "hash": ("## Summary\nDone.", summary("Done.")),
    "hash and colon": ("### FINAL ANSWER:\nDone.", summary("Done.")),
    "capitals alone": ("SUMMARY\nDone.", summary("Done.")),
    "wide colon": ("SUMMARY： 完了。", summary("完了。")),
    "final answer": ("Final answer: 42", summary("42")),
    "analysis and guidance": ("ANALYSIS: a\nb\n\nGUIDANCE: Do it.\nNow.\n", guidance("Do it.\nNow.", "a\nb")),
    "guidance alone": ("GUIDANCE:\nDo it.", guidance("Do it.")),
    "instructions": ("Instructions:\n1. Do it.", guidance("1. Do it.")),
    "for the executor": ("**Guidance for the executor:**\nDo it.", guidance("Do it.")),
    "next step": ("Reasoning: why\n\nNext step: Do it.", guidance("Do it.", "why")),
    "numbered": ("1. **ANALYSIS:** a\n2. **GUIDANCE:** Do it.", guidance("Do it.", "a")),
    "list": ("- Analysis: a\n- Guidance: Do it.", guidance("Do it.", "a")),
    "preamble": ("Sure! Here is my plan.\n\nGUIDANCE: Do it.", guidance("Do it.")),
    "instructions within guidance": ("GUIDANCE: a\nInstructions: b", guidance("a\nInstructions: b")),
    "summary wins": ("ANALYSIS: a\nGUIDANCE: g\nSUMMARY: s", summary("s")),
    "summary wins when first": ("SUMMARY: s\nANALYSIS: a\nGUIDANCE: g", summary("s")),
    "summary with headings": ("SUMMARY: s\n\n## Analysis\nx\nGuidance: y", summary("s\n\n## Analysis\nx\nGuidance: y")),
    "summary with list": ("SUMMARY:\n- 1. a\n- **b**", summary("- 1. a\n- **b**")),
    "summary that resembles": ("SUMMARY:\nSummaries\nANALYSIS of x", summary("Summaries\nANALYSIS of x")),
    "unused summary": ("SUMMARY: N/A\n\nGUIDANCE: Do it.", guidance("Do it.")),
    "unused summary below": ("**Summary:**\n(none)\n\n**Guidance:**\nDo it.", guidance("Do it.")),
    "empty summary, bare heading": ("## Summary\n\n## Guidance\nDo it.", guidance("Do it.")),
    "short summary": ("SUMMARY: no", summary("no")),
    "summary of none": ("SUMMARY: None of the tests failed.", summary("None of the tests failed.")),
    "summary of a sign": ("SUMMARY: 👍", summary("👍")),
    "empty summary": ("SUMMARY: \n\n", other()),
    "empty guidance": ("ANALYSIS: a\nGUIDANCE:\n", other("a")),
    "unused guidance": ("ANALYSIS: a\nGUIDANCE: none", other("a")),
    "analysis alone": ("ANALYSIS: a", other("a")),
    "nothing": ("", other()),
    "prose": ("I would read the file. Summary: it is short.", other()),
    "quoted heading": ("GUIDANCE: a\n```\n## Summary:\nx\n```\nb", guidance("a\n```\n## Summary:\nx\n```\nb")),
    "heading to be written": ("GUIDANCE: Write\n## Summary\nx", guidance("Write\n## Summary\nx")),
    "answer in a fence": ("```\nGUIDANCE: Do it.\n```", guidance("Do it.\n```")),
    "think": ("<think>SUMMARY: no\nGUIDANCE: x</think>\n\nGUIDANCE: Do it.", guidance("Do it.")),
    "think on the line": ("<think>no</think>SUMMARY: Done.", summary("Done.")),
    "thinking": ("<thinking>\nno\n</thinking>\nSUMMARY: Done.", summary("Done.")),
    "think without an end": ("<think>SUMMARY: no", other()),
    "think without a beginning": ("GUIDANCE: no\n</think>\nGUIDANCE: Do it.", guidance("Do it.")),
    "tag in a summary": ("SUMMARY: a </think> tag\n<think>", summary("a </think> tag\n<think>")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "plan"), CASES.values(), ids=CASES.keys())
def test_plan_is_read(text: str, plan: Plan) -> None:
    assert read_plan(text) == plan
    assert read_in_pieces([*text]) == (plan, plan.summary)


def read_in_pieces(pieces: list[str]) -> tuple[Plan, str]:
    """The plan, and what came out of the reader while it read."""
    reader = PlanReader()
    released = "".join([*(reader.feed(piece) for piece in pieces), reader.finish()])
    assert reader.feed("x") == reader.finish() == ""
    return reader.plan, released


PARTS = st.sampled_from([
    "SUMMARY", "Summary", "final answer", "GUIDANCE", "Guidance", "ANALYSIS", "Instructions", "for the executor", ":",
    "**", "## ", "\n", "\n\n", " ", "- ", "1. ", "<think>", "</think>", "```\n", "N/A", "none", "text", "A", "é",
])  # fmt: skip


@given(st.lists(PARTS, max_size=14), st.data())
def test_same_plan_however_it_is_cut(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    plan, released = read_in_pieces(pieces)
    assert plan == read_plan(text)
    assert released == plan.summary


def test_final_answer_streams_from_its_first_word_on() -> None:
    reader = PlanReader()
    pieces = ["SUMM", "ARY", ":", " The", " cat", "\n", "\n", "GUID", "ES of", " the", "\nANALYSIS", ": x", "y"]
    released = [reader.feed(piece) for piece in pieces]
    assert released == ["", "", "", "The", " cat", "", "", "", "\n\nGUIDES of", " the", "", "", ""]
    assert reader.is_summary


def test_first_line_below_the_heading_streams_too() -> None:
    reader = PlanReader()
    assert [reader.feed(piece) for piece in ["**SUMMARY:**\n", "The", " cat"]] == ["", "The", " cat"]


@pytest.mark.parametrize("piece", ["- " + " " * 20, " ", "x", "ANALYSIS ", "\n", "# \t", "**", "- x\n", "n/a ", "."])
@pytest.mark.parametrize("begin", ["", "GUIDANCE: x\n", "SUMMARY: x\n", "SUMMARY:"])
def test_reading_takes_time_in_proportion_to_the_plan(begin: str, piece: str) -> None:
    def seconds(n: int, at_once: bool) -> float:
        reader = PlanReader()
        reader.feed(begin)
        start = process_time()
        for text in [piece * n] if at_once else [piece] * n:
            reader.feed(text)
        reader.finish()
        return process_time() - start

    for at_once in (False, True):
        seconds(100, at_once)
        few, many = min(seconds(1000, at_once) for _ in range(2)), min(seconds(8000, at_once) for _ in range(2))
        assert many < 8 * few * 4 + 0.1


def test_line_that_is_too_long_for_a_heading_is_text() -> None:
    long = "x" * 1000
    plan = read_plan(f"ANALYSIS: {long}\nGUIDANCE: {long} SUMMARY: y\n{long}\n")
    assert plan == Plan("GUIDANCE", analysis=long, guidance=f"{long} SUMMARY: y\n{long}")
