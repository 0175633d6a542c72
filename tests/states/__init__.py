"""The state checker: three requests overlap in every order, faults strike anywhere, and the promises of replay are checked.

`requests` says who asks for what, and `application` what that does. A `world` is a state, in which a real store has its
`memory`, or the model of a shared one its `rows`; a `scene` is the requests that meet. `moments` are the steps of a request,
`faults` what may strike it, `endings` what remains to be seen when all is over. `promises` must hold; `explorer` visits every
state of a scene of the `catalogue`. `broken` and `broken_rows` hold guards that must be caught, `twin` a naive store for the
store's own tests.
"""
