"""The state checker: three requests overlap in every order, faults strike anywhere, and the promises of replay are checked.

`requests` says who asks for what, `application` what that does, `world` what a state is, `moments` which steps lead from
it to others, `promises` what must hold, `explorer` visits them all, and `broken` holds guards that must be caught.
"""
