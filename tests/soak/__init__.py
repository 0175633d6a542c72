"""Histories from real processes: a guarded app in several servers, clients that retry, and faults; then a judge counts.

`app` writes every effect into the `ledger`; `clients` do what real ones do and note what they were told; `fleet` and `places`
are the servers and the stores, and how they die; `judge` compares what was told with what was done; `course` is one run.
"""
