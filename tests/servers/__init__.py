"""Real servers for tests: start one, speak raw bytes to it, read its answers strictly.

- `processes`: the servers of the matrix, and how one is started and stopped
- `fixtures`: `serve(app_path, server)`, each server started once per session
- `wire`: requests as bytes, answers parsed byte for byte
- `apps`: a small application that misbehaves on request, for ASGI and WSGI, bare and guarded
- `conversations`: what is said to a server; `telling` puts what happened into words
- `matrix`: the table of conversations with what must happen; `impossible`, what some servers do not allow
- `table`: prints what each server does with each conversation, bare and guarded
"""
