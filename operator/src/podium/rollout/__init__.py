"""Pure: which revision serves, what happens next, and why. No clock, no cluster: `now` is an argument."""
