"""Read the planner's answer while it streams: its sections, however the model has dressed their headings.

Every decision is made as soon as no continuation could change it, so the same text gives the same plan however it
is cut into chunks.
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
_DECORATION = r"[ \t]{0,3}(?:(?:[-*+>]|\d{1,2}[.)])[ \t]+)?(?:\#{1,6}[ \t]*)?(?P<mark>\*{1,3}|_{1,3}|`)?[ \t]*"
_ALL_NAMES = "|".join(f"(?P<{section}>{'|'.join(names)})" for section, names in _NAMES.items()).replace(" ", r"[ \t]+")
_NAME = rf"(?:{_ALL_NAMES})(?:[ \t]+(?:for|to)[ \t]+[\w -]{{1,40}}?)?[ \t]*"
_HEADING = re.compile(rf"{_DECORATION}{_NAME}(?P<closed>(?P=mark))?[ \t]*[:：]", re.IGNORECASE)
_BARE_HEADING = re.compile(rf"{_DECORATION}{_NAME}(?:(?P=mark))?[ \t]*#*[ \t]*", re.IGNORECASE)
# A final answer may have headings of its own: only these end it.
_ENDING = ("ANALYSIS", "GUIDANCE")
_END_OF_SUMMARY = re.compile(rf"{_DECORATION}(?:{'|'.join(_ENDING)})[ \t]*(?:(?P=mark))?[ \t]*:")

# A line of which it is not yet known whether it is a heading.
_UNDECIDED = re.compile(r"[ \t]{0,3}[-+>#*_`\d.) \t]{0,16}(?P<words>(?:[A-Za-z][A-Za-z \t]*)?)[*_`# \t]{0,8}")
_UNDECIDED_AUDIENCE = re.compile(r" (?:f|fo|for|t|to|for .{0,40}|to .{0,40})")

_FENCE = re.compile(r"[ \t]{0,3}(?:```|~~~)")
_THINK = re.compile(r"\s*<think(?:ing)?>", re.IGNORECASE)
_THINK_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_THINK_END_LENGTH = len("</thinking>")

# What models write into a section that they have no use for.
_NOTHING = ("", "n/a", "na", "none", "notapplicable", "notneeded", "empty", "null")
_PADDING = re.compile(r"[\s*_`()\[\].\-]+")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the planner wants. ``summary`` and ``guidance`` are only there in a plan of that kind."""

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
    """Feed it the planner's text; what comes back is text of the final answer (SUMMARY).

    is_summary: a SUMMARY with content has begun. It wins over the other sections.
    """

    def __init__(self) -> None:
        self.is_summary = False
        self._section: _Section | None = None
        self._texts: dict[_Section, str] = {"analysis": "", "guidance": "", "summary": ""}
        self._buffer = ""  # from the beginning of a line that is not yet understood
        self._thinking = False
        self._fenced = False  # within a section: a heading there belongs to a text that is quoted
        self._mid_line = False  # the line that the buffer continues is no heading
        self._closing = ""  # the mark that is expected behind a heading's colon: **SUMMARY:**
        self._held = ""  # blanks that the final answer may end with
        self._over = False  # whatever comes is no longer part of the plan

    @property
    def plan(self) -> Plan:
        """The plan, after :meth:`finish`."""
        texts = {section: text.strip() for section, text in self._texts.items()}
        if self.is_summary:
            return Plan("SUMMARY", summary=texts["summary"])
        if _squeezed(texts["guidance"]) in _NOTHING:
            return Plan("OTHER", analysis=texts["analysis"])
        return Plan("GUIDANCE", analysis=texts["analysis"], guidance=texts["guidance"])

    def feed(self, text: str) -> str:
        """Take the next piece; returns what is certain to be text of the final answer."""
        if self._over:
            return ""
        self._buffer += text
        return self._read(at_end=False)

    def finish(self) -> str:
        """The answer has ended; returns the rest of the final answer."""
        if self._over:
            return ""
        rest = self._read(at_end=True)
        if self._section == "summary" and not self.is_summary and _squeezed(self._texts["summary"]) not in _NOTHING:
            self.is_summary = True
            rest = self._texts["summary"].strip()
        self._over = True
        return rest

    def _read(self, *, at_end: bool) -> str:
        released = ""
        progress = True
        while progress and not self._over and (self._buffer or self._section == "summary"):
            if self._thinking:
                progress = self._skip_thinking()
            elif self._section == "summary":
                progress, text = self._read_summary(at_end)
                released += text
            else:
                progress = self._read_line(at_end)
        return released

    def _skip_thinking(self) -> bool:
        end = _THINK_END.search(self._buffer)
        self._thinking = end is None
        self._buffer = self._buffer[end.end() :] if end else self._buffer[-_THINK_END_LENGTH:]
        return end is not None

    def _read_line(self, at_end: bool) -> bool:
        """Understand the first line in the buffer; False if it has to grow first."""
        line, newline, rest = self._buffer.partition("\n")
        whole = bool(newline) or at_end
        heading = None if self._fenced else _HEADING.match(line)
        if heading and heading["summary"]:
            self._begin("summary", heading)
            self._buffer = self._buffer[heading.end() :]
            return True
        if think := _THINK.match(line):
            self._thinking = True
            self._buffer = self._buffer[think.end() :]
            return True
        if think_end := _THINK_END.search(line):  # of thoughts that began without their tag
            self._texts = dict.fromkeys(self._texts, "")
            self._section, self._fenced = None, False
            self._buffer = self._buffer[think_end.end() :]
            return True
        if not whole:
            return False
        self._buffer = rest
        if heading and not (self._section == "guidance" and heading["guidance"]):
            self._begin("analysis" if heading["analysis"] else "guidance", heading)
            self._texts[self._section or "analysis"] += self._without_mark(line[heading.end() :]) + newline
        elif (bare := self._bare_heading(line)) is not None:
            self._begin(bare, None)
        elif self._section is not None:
            if _FENCE.match(line):
                self._fenced = not self._fenced
            self._texts[self._section] += line + newline
        return True

    def _bare_heading(self, line: str) -> _Section | None:
        """The section that a line without a colon begins: one that is marked up, or in capitals.

        Within GUIDANCE it is taken for a line of a text that is to be written.
        """
        found = None if self._fenced or self._section == "guidance" else _BARE_HEADING.fullmatch(line)
        if found is None or not (found["mark"] or "#" in line or line.isupper()):
            return None
        return next(section for section in _NAMES if found[section])

    def _begin(self, section: _Section, heading: re.Match[str] | None) -> None:
        self._section = section
        self._fenced = False
        self._mid_line = heading is not None
        if section != "summary":
            self._texts[section] = ""
        self._closing = heading["mark"] or "" if heading and not heading["closed"] else ""

    def _without_mark(self, text: str) -> str:
        """The text behind a heading without the end of the heading's mark."""
        closing, self._closing = self._closing, ""
        return text.removeprefix(closing)

    def _read_summary(self, at_end: bool) -> tuple[bool, str]:
        """Take the first line in the buffer, or as much of it as is certain."""
        if self._closing:
            if not at_end and len(self._buffer) < len(self._closing) and self._closing.startswith(self._buffer):
                return False, ""
            self._buffer = self._without_mark(self._buffer)
        line, newline, rest = self._buffer.partition("\n")
        whole = bool(newline) or at_end
        if not self._mid_line and self._ends_summary(line, whole):
            if self.is_summary:
                self._over = True
                return False, ""
            self._section = None  # nothing stood in it: the heading begins another section
            return True, ""
        if not whole and not self._mid_line and self._may_end_summary(line):
            return False, ""
        self._mid_line = not newline
        self._buffer = rest
        if not line and not newline:
            return False, ""
        return bool(rest), self._release(line + newline)

    def _ends_summary(self, line: str, whole: bool) -> bool:
        if self.is_summary:
            return _END_OF_SUMMARY.match(line) is not None
        return _HEADING.match(line) is not None or (whole and self._bare_heading(line) is not None)

    def _may_end_summary(self, line: str) -> bool:
        """Whether a line that is not yet whole may become a heading."""
        undecided = _UNDECIDED.fullmatch(line)
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
        self._texts["summary"] += text
        if not self.is_summary:
            squeezed = _squeezed(self._texts["summary"])
            if any(nothing.startswith(squeezed) for nothing in _NOTHING):
                return ""
            self.is_summary = True
            text = self._texts["summary"].lstrip()
        text = self._held + text
        kept = text.rstrip()
        self._held = text[len(kept) :]
        return kept


def _squeezed(text: str) -> str:
    return _PADDING.sub("", text).lower()
