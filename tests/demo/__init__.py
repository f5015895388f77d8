"""`make demo`: Podium's main job on real models, under load, on a cluster that it starts itself."""
