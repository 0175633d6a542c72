"""What hypercorn takes from a module only: nothing of its own in an answer."""

include_server_header = False
include_date_header = False
