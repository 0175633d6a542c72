"""Apps that commit their answers in their own transactions, for tests/test_recording.py and tests/test_recording_kills.py."""
