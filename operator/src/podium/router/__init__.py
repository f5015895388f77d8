"""The router's data plane: what runs beside Envoy in a pod of `podium-router`. Standard library alone.

It starts in a blink, and without the operator: the operator writes what is wanted into ConfigMaps, one per
ModelDeployment (`routing`), this validates it, renders Envoy's configuration from it and from EndpointSlices (`xds`),
and puts it down as files in the order that loses no request (`files`).
"""
