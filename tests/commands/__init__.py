"""What the tests of the command line share: small apps to serve, and ways to run a command."""
