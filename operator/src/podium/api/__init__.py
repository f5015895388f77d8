"""The API podium.dev/v1alpha1: typed specs, durations, template variables, and the generator of the CRDs."""
