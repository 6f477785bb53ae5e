"""docs/reliability.md says what these tests assert."""

from support.reliability import PAGE, page


def test_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text() == page(), "write it anew: cd tests && python -m support.reliability"
