"""Reads the planner's answer while it streams: its sections, however the model has formatted their headings.

Every decision is made as soon as no continuation could change it, so the same text gives the same plan however it is
split into chunks.
"""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["SUMMARY", "GUIDANCE", "OTHER"]
_Section = Literal["analysis", "guidance", "summary"]

_NAMES: dict[_Section, tuple[str, ...]] = {
    "summary": ("summary", "final answer", "final response", "final summary"),
    "analysis": ("analysis", "reasoning", "thoughts"),
    "guidance": ("guidance", "instructions", "instruction", "directions", "next step", "next steps", "action plan"),
}
# Quantifiers of blanks are possessive: a planner may send any number of them.
_DECORATION = r"[ \t]{0,3}(?:(?:[-*+>]|\d{1,2}[.)])[ \t]++)?(?:\#{1,6}[ \t]*+)?(?P<mark>\*{1,3}|_{1,3}|`)?[ \t]*+"
_ALL_NAMES = "|".join(f"(?P<{section}>{'|'.join(names)})" for section, names in _NAMES.items()).replace(" ", r"[ \t]++")
_NAME = rf"(?:{_ALL_NAMES})(?:[ \t]++(?:for|to)[ \t]++[\w -]{{1,40}}?)?[ \t]*+"
_HEADING = re.compile(rf"{_DECORATION}{_NAME}(?P<closed>(?P=mark))?[ \t]*+[:：]", re.IGNORECASE)
_BARE_HEADING = re.compile(rf"{_DECORATION}{_NAME}(?:(?P=mark))?[ \t]*+#*+[ \t]*+", re.IGNORECASE)
_LONGEST_HEADING = 300  # characters of a line: a longer one is text
# A final answer may have headings of its own: only these end it.
_ENDING = ("ANALYSIS", "GUIDANCE")
_END_OF_SUMMARY = re.compile(rf"{_DECORATION}(?:{'|'.join(_ENDING)})[ \t]*+(?:(?P=mark))?[ \t]*+:")

# An incomplete line that may still become a heading.
_UNDECIDED = re.compile(r"[ \t]{0,3}[-+>#*_`\d.) \t]{0,16}(?P<words>(?:[A-Za-z][A-Za-z \t]*)?)[*_`# \t]{0,8}")
_UNDECIDED_AUDIENCE = re.compile(r" (?:f|fo|for|t|to|for .{0,40}|to .{0,40})")

_FENCE = re.compile(r"[ \t]{0,3}(?:```|~~~)")
_THINK = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINK_END_LENGTH = len("</thinking>")

# What models write into a section that they don't need.
_NOTHING = ("", "n/a", "na", "none", "notapplicable", "notneeded", "empty", "null")
_PADDING = re.compile(r"[\s*_`()\[\].\-]+")


@dataclass(frozen=True, slots=True)
class Plan:
    """The planner's plan. ``summary`` and ``guidance`` are set only in a plan of that kind."""

    kind: Kind
    analysis: str = ""
    guidance: str = ""
    summary: str = ""


def read_plan(text: str) -> Plan:
    """The plan in a whole answer."""
    reader = PlanReader()
    reader.feed(text)
    reader.finish()
    return reader.plan


class PlanReader:
    """Call :meth:`feed` with the planner's text; it returns the text of the final answer (SUMMARY).

    is_summary: a SUMMARY with content has begun. It takes precedence over the other sections.
    """

    def __init__(self) -> None:
        self.is_summary = False
        self._section: _Section | None = None
        self._texts: dict[_Section, list[str]] = {"analysis": [], "guidance": [], "summary": []}
        self._buffer = ""  # from the beginning of a line that is not yet classified
        self._start = 0  # where that line begins in the buffer
        self._thinking = False
        self._fenced = False  # within a section: a heading there belongs to a quoted text
        self._mid_line = False  # the line that the buffer continues is not a heading
        self._closing = ""  # the mark that is expected after a heading's colon: **SUMMARY:**
        self._squeezed = ""  # the summary so far without padding, until it is known to be one
        self._held: list[str] = []  # blanks that may be the end of the final answer
        self._over = False  # the rest is no longer part of the plan

    @property
    def plan(self) -> Plan:
        """The plan, after :meth:`finish`."""
        texts = {section: "".join(pieces).strip() for section, pieces in self._texts.items()}
        if self.is_summary:
            return Plan("SUMMARY", summary=texts["summary"])
        if _squeezed(texts["guidance"]) in _NOTHING:
            return Plan("OTHER", analysis=texts["analysis"])
        return Plan("GUIDANCE", analysis=texts["analysis"], guidance=texts["guidance"])

    def feed(self, text: str) -> str:
        """Process the next piece. Returns the part that is certain to be text of the final answer."""
        if self._over:
            return ""
        self._buffer = self._buffer[self._start :] + text
        self._start = 0
        return self._read(at_end=False)

    def finish(self) -> str:
        """The answer has ended; returns the rest of the final answer."""
        if self._over:
            return ""
        rest = self._read(at_end=True)
        if self._section == "summary" and not self.is_summary and self._squeezed not in _NOTHING:
            self.is_summary = True
            rest = "".join(self._texts["summary"]).strip()
        self._over = True
        return rest

    def _read(self, *, at_end: bool) -> str:
        released: list[str] = []
        progress = True
        while progress and not self._over and (self._start < len(self._buffer) or self._section == "summary"):
            if self._thinking:
                progress = self._skip_thinking()
            elif self._section == "summary":
                progress, text = self._read_summary(at_end)
                released.append(text)
            else:
                progress = self._read_line(at_end)
        return "".join(released)

    def _line(self, at_end: bool) -> tuple[str, str, bool]:
        """The first line, its newline, and whether it is complete."""
        end = self._buffer.find("\n", self._start)
        if end < 0:
            return self._buffer[self._start :], "", at_end
        return self._buffer[self._start : end], "\n", True

    def _skip_thinking(self) -> bool:
        end = _THINK_END.search(self._buffer, self._start)
        self._thinking = end is None
        self._start = end.end() if end else max(self._start, len(self._buffer) - _THINK_END_LENGTH)
        return end is not None

    def _read_line(self, at_end: bool) -> bool:
        """Process the first line in the buffer; False if it is not long enough yet.

        A line that is too long for a heading is processed in pieces.
        """
        line, newline, whole = self._line(at_end)
        head = "" if self._mid_line else line[:_LONGEST_HEADING]
        heading = None if self._fenced or self._mid_line else _HEADING.match(head)
        if heading and heading["summary"]:
            self._begin("summary", heading)
            self._start += heading.end()
            return True
        if not self._mid_line and (think := _THINK.match(head)):
            self._thinking = True
            self._start += think.end()
            return True
        if think_end := _THINK_END.search(line):  # of thoughts that began without their tag
            self._texts = {section: [] for section in self._texts}
            self._section, self._fenced, self._mid_line = None, False, False
            self._start += think_end.end()
            return True
        kept = 0 if whole else _THINK_END_LENGTH  # the end of the thoughts may begin in it
        if not whole and len(line) <= _LONGEST_HEADING + kept:
            return False
        text = line[: len(line) - kept] + newline
        self._start += len(text)
        first, self._mid_line = not self._mid_line, not whole
        if heading and not (self._section == "guidance" and heading["guidance"]):
            self._begin("analysis" if heading["analysis"] else "guidance", heading)
            self._mid_line = not whole
            self._texts[self._section or "analysis"].append(self._without_mark(text[heading.end() :]))
        elif first and whole and (bare := self._bare_heading(line)) is not None:
            self._begin(bare, None)
        elif self._section is not None:
            if first and _FENCE.match(head):
                self._fenced = not self._fenced
            self._texts[self._section].append(text)
        return whole

    def _bare_heading(self, line: str) -> _Section | None:
        """The section that a line without a colon begins: one with markup, or in capitals.

        Within GUIDANCE such a line counts as part of a text that is to be written.
        """
        if self._fenced or self._section == "guidance" or len(line) > _LONGEST_HEADING:
            return None
        found = _BARE_HEADING.fullmatch(line)
        if found is None or not (found["mark"] or "#" in line or line.isupper()):
            return None
        return next(section for section in _NAMES if found[section])

    def _begin(self, section: _Section, heading: re.Match[str] | None) -> None:
        self._section = section
        self._fenced = False
        self._mid_line = heading is not None and section == "summary"
        if section != "summary":
            self._texts[section] = []
        self._closing = heading["mark"] or "" if heading and not heading["closed"] else ""

    def _without_mark(self, text: str) -> str:
        """The text after a heading, without the end of the heading's markup."""
        closing, self._closing = self._closing, ""
        return text.removeprefix(closing)

    def _read_summary(self, at_end: bool) -> tuple[bool, str]:
        """Process the first line in the buffer, or as much of it as is certain."""
        if self._closing:
            mark = self._buffer[self._start : self._start + len(self._closing)]
            if not at_end and len(mark) < len(self._closing) and self._closing.startswith(mark):
                return False, ""
            self._start += len(mark) if mark == self._closing else 0
            self._closing = ""
        line, newline, whole = self._line(at_end)
        if not self._mid_line and self._ends_summary(line, whole):
            if self.is_summary:
                self._over = True
                return False, ""
            self._section = None  # it was empty: the heading begins another section
            return True, ""
        if not whole and not self._mid_line and self._may_end_summary(line):
            return False, ""
        self._mid_line = not newline
        self._start += len(line) + len(newline)
        if not line and not newline:
            return False, ""
        return self._start < len(self._buffer), self._release(line + newline)

    def _ends_summary(self, line: str, whole: bool) -> bool:
        head = line[:_LONGEST_HEADING]
        if self.is_summary:
            return _END_OF_SUMMARY.match(head) is not None
        return _HEADING.match(head) is not None or (whole and self._bare_heading(line) is not None)

    def _may_end_summary(self, line: str) -> bool:
        """Whether an incomplete line may become a heading."""
        undecided = _UNDECIDED.fullmatch(line) if len(line) <= _LONGEST_HEADING else None
        if undecided is None:
            return False
        words = " ".join(undecided["words"].split())
        if self.is_summary:
            return any(name.startswith(words) for name in _ENDING)
        words = words.lower()
        return any(
            name.startswith(words) or (words.startswith(name) and _UNDECIDED_AUDIENCE.fullmatch(words[len(name) :]))
            for names in _NAMES.values()
            for name in names
        )

    def _release(self, text: str) -> str:
        self._texts["summary"].append(text)
        if not self.is_summary:
            self._squeezed += _squeezed(text)
            if any(nothing.startswith(self._squeezed) for nothing in _NOTHING):
                return ""
            self.is_summary = True
            text = "".join(self._texts["summary"]).lstrip()
        kept = text.rstrip()
        if not kept:
            self._held.append(text)
            return ""
        released = "".join((*self._held, kept))
        self._held = [text[len(kept) :]]
        return released


def _squeezed(text: str) -> str:
    return _PADDING.sub("", text).lower()
