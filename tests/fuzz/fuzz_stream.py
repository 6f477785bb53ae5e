"""A coverage-guided fuzzer for the parser of event streams and the converter behind it.

    python -m venv VENV && VENV/bin/pip install atheris -e '.[test]'
    cd tests && mkdir found
    ../VENV/bin/python -m fuzz.fuzz_stream found fuzz/corpus -dict=fuzz/stream.dict -max_len=4096 -max_total_time=600

``found`` takes the inputs that reach new code. One that breaks a rule is written to ``crash-*``: make it smaller with
``-minimize_crash=1 -runs=10000 crash-*``, put it into ``corpus/`` under a name that says what it is, and repair the
code. test_corpus.py runs the corpus with the other tests, without atheris.
"""

import logging
import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["ccproxy_middleware"]):
    from support.streams.stream_check import check_input

if __name__ == "__main__":
    logging.disable()
    atheris.Setup(sys.argv, check_input)
    atheris.Fuzz()
