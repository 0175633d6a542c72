"""The gateway between a client that sends exact bytes and an upstream that answers exact bytes.

- `upstream`: a server on a raw socket that answers as a test scripts it, and keeps every byte that it received
- `scripts`: its bad manners, by name
- `client`: requests as bytes, fields in the order and the spelling given
- `apps`: the guarded gateways that the servers serve, configured by their environment
- `stage`: an upstream, and the real servers in front of it
- `cases`: the cases in which gateways differ
- `table`: prints them as a page of the documentation
- `judge`: what was seen and heard, held against what was expected
- `impossible`: what an ASGI server does not let a gateway do, each with its reason and what happens instead
"""
