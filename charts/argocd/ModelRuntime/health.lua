-- A ModelRuntime is read when a rollout starts; it has no status, so it is healthy as soon as it is there.
return {status = "Healthy", message = "in effect from the next rollout"}
