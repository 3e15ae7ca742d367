"""Ratios against MLflow's own stores, and against the raw driver: `python -m benchmarks`.

Measures the SQLite store, or with `--store` the folder of files or a store on a database server. Each side runs in a
process of its own and is timed inside it, around the calls only. Rounds are interleaved, so that what disturbs the
machine disturbs all sides alike, and medians over rounds are compared. Answers are compared too: a side that answers
differently stops the benchmark. What a search needs of memory is measured by `python -m benchmarks.memory`, how times
grow with the number of runs by `python -m benchmarks.growth`.
"""
