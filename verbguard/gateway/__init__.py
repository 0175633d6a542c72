"""verbguard in front of a service: the gateway."""
