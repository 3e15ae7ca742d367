"""Transfers of artifacts, against the best copy tools and MLflow: `python -m benchmarks.artifacts`.

For every kind of storage service there is a server on this machine, started by the benchmark, and a set of contestants
that copy the same folders to it and back. Each transfer is a process of its own. Rounds are interleaved; every round
has a new server. After an upload an independent tool lists what is there, after a download sizes and a sample of
contents are compared, so that nobody wins by leaving work out. What transfers need of memory is measured by
`python -m benchmarks.artifacts memory`.
"""
