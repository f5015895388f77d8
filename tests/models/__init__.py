"""Real models for the demo and the tests: small, trained here, cached by what they are made from."""
