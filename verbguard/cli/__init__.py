"""The command line: `verbguard demo`, `serve`, `routes`, `rules` and `store`, built on click."""

from __future__ import annotations

import click

from verbguard import __version__
from verbguard.cli import demo, learn, routes, rules, serve, store


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
\b
Start here:
  verbguard demo               see the difference on a real server
  verbguard routes shop:app    what the guard would do with your app
  verbguard serve shop:app     run your app guarded, without touching it
  verbguard learn --har FILE   a verbguard.toml from recorded traffic
  verbguard rules              what it looks for, and why
  verbguard store ls URL       what the guards of several processes share

\b
In your own code it is one line:
  app = verbguard.guard(app)
""",
)
@click.version_option(__version__, prog_name="verbguard", message="%(prog)s %(version)s")
def program() -> None:
    """Make HTTP's verbs keep their word.

    PUT never hits a collection and can be repeated, a POST that creates says where, a 405 lists what is
    allowed, and every status code fits its method.
    """


for command in (demo.demo, serve.serve, routes.routes, learn.learn, rules.rules, store.store):
    program.add_command(command)
