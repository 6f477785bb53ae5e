"""Benchmarks and the soak: ``python -m bench.run`` and ``python -m bench.soak``, from the repository's root."""
