"""A server, a client and a few shops for the strangers' suites: what they know of verbguard is `guard`.

Nothing here imports the guard's insides. `answers` holds what a client sees, `drivers` play the server in process,
`servers` are real ones, `checks` say how a guarded answer may differ from the bare one, `shop` is the program under
test, and the `*_apps` modules are small programs in each framework's own idiom.
"""

import pytest

# A check that fails shows both answers, as an assertion in a test would.
pytest.register_assert_rewrite("blackbox.checks", "blackbox.answers", "blackbox.drivers")
