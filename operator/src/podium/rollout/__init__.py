"""Pure: which revision serves, what happens next, and why. No clock, no cluster: the time is an argument."""
