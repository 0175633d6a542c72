"""What operators see of a running guard: a line in the log for each request, metrics, health.

- `accounts`: what is known of the request that is running
- `layer`: the outermost ASGI layer, which keeps the accounts and hands them to reports
- `stores`, `services`: the layers inside, around the store and around what is guarded
- `accesslog`, `metrics`: the reports
- `admin`: the port on which an operator asks; `draining`: whether the program is about to end

Nothing of it runs where nobody asked for it.
"""
