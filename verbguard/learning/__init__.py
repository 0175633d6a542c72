"""From recorded traffic of a service to a proposed `verbguard.toml`: values in, text out.

    traffic = Traffic()
    for exchange in har.exchanges(Path("shop.har").read_bytes(), "shop.har"):
        traffic.add(exchange)
    print(propose(traffic).toml())

What the proposal says was seen; what was seen once is a comment; and nothing that was seen to succeed is refused by it.
"""

from verbguard.learning.exchanges import Exchanged, Seen, Witness
from verbguard.learning.proposal import Proposal, propose
from verbguard.learning.traffic import Traffic

__all__ = ["Exchanged", "Proposal", "Seen", "Traffic", "Witness", "propose"]
