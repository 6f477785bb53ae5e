"""Which of a request's candidates is tried next."""

from collections.abc import Callable, Sequence

from .candidates import Candidate, Option
from .cooldowns import Cooldowns
from .failures import Failure
from .windows import Windows, stated_window

_PERHAPS = (
    "connect",
    "overloaded",
    "server",
)  # cool-downs that may be ignored as a last resort


class Choice:
    """The options of one request, in the order in which they are tried.

    The options without a cool-down come first, in their order, then those of a busy upstream. If no option has been
    tried, the one whose cool-down ends first is tried. If others have been tried and have failed, only those are tried
    whose cool-down is due to a failure of the upstream itself.
    """

    def __init__(self, options: Sequence[Option], cooldowns: Cooldowns, windows: Windows) -> None:
        self.options = options
        self._open = list(options)
        self._cooldowns = cooldowns
        self._windows = windows
        self._asked = False
        self._busy: set[str] = set()

    def next(self) -> Option | None:
        """The option to try now, or None where there is none."""
        busy: Option | None = None
        cooled: list[tuple[float, int]] = []
        for number, option in enumerate(self._open):
            cooldown = self._cooldowns.find(option)
            if cooldown is not None:
                if not self._asked or cooldown.reason in _PERHAPS:
                    cooled.append((cooldown.until, number))
            elif option.upstream not in self._busy:
                return option
            else:
                busy = busy or option
        return busy or (self._open[min(cooled)[1]] if cooled else None)

    def passed_over(self, option: Option) -> list[tuple[Candidate, str]]:
        """The candidates before this option that were not tried, and why: ``busy``, or the reason for a cool-down."""
        if option is self.options[0]:
            return []
        passed: dict[Candidate, str] = {}
        for other in self.options[: self.options.index(option)]:
            candidate = Candidate(other.upstream, other.model)
            if other not in self._open or candidate == option[:2]:
                continue
            cooldown = self._cooldowns.find(other)
            if cooldown is not None or other.upstream in self._busy:
                passed.setdefault(candidate, "busy" if cooldown is None else cooldown.reason)
        return list(passed.items())

    def has_other(self, option: Option) -> bool:
        """Whether another option is tried if this one fails."""
        return any(other is not option and self._is_worth_a_try(other) for other in self._open)

    def open_candidates(self) -> list[Candidate]:
        """The candidates that may still be tried."""
        return [Candidate(option.upstream, option.model) for option in self._open]

    def _is_worth_a_try(self, option: Option) -> bool:
        cooldown = self._cooldowns.find(option)
        return cooldown is None or cooldown.reason in _PERHAPS

    def busy(self, upstream: str) -> None:
        """Mark an upstream as full for now: the options of others come first."""
        self._busy.add(upstream)

    def is_busy(self, upstream: str) -> bool:
        """Whether an upstream was full before."""
        return upstream in self._busy

    def leave(self, upstream: str) -> None:
        """Exclude an upstream that stays full: none of its options is tried."""
        self._asked = True
        self._keep(lambda other: other.upstream != upstream)

    def asked(self, option: Option) -> None:
        """Mark an option as tried; it won't be tried again."""
        self._asked = True
        self._open.remove(option)

    def failed(self, option: Option, failure: Failure) -> None:
        """Remove the options that would fail in the same way."""
        match failure.reason:
            case "timeout":
                self._keep(lambda other: other.upstream != option.upstream)
            case "connect":
                self._keep_one(lambda other: other.upstream == option.upstream)
            case "server" | "overloaded":
                self._keep_one(lambda other: other[:2] == option[:2])
            case "refused_key" | "quota":
                self._keep(lambda other: (other.upstream, other.key) != (option.upstream, option.key))
            case "rate_limit":
                pass
            case "context_overflow":
                window = stated_window(failure) or self._windows(option.upstream, option.model)
                self._keep(
                    lambda other: window is not None and (self._windows(other.upstream, other.model) or 0) > window
                )
            case _:  # the model does not exist, whichever key is used
                self._keep(lambda other: other[:2] != option[:2])

    def _keep_one(self, alike: Callable[[Option], bool]) -> None:
        """Of the options that would fail in the same way, keep one: it is tried again where no other option is left."""
        last = next((option for option in reversed(self._open) if alike(option)), None)
        self._keep(lambda other: other == last or not alike(other))

    def _keep(self, fits: Callable[[Option], bool]) -> None:
        self._open = [option for option in self._open if fits(option)]
