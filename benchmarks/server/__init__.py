"""Compare tracking servers: requests per second, times of answers and processor time, over connections that are kept.

Each server has the same runs in a database of its own. They are asked in turn, round by round, with requests that are
made beforehand, so that asking costs little; what it costs is in the table.
"""
