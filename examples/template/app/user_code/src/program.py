"""The shortest way through some towns, with networkx: what a service in a job template looks like."""
from typing import Any, Dict, Optional

import networkx
from loguru import logger

from .libs.return_objects import ErrorResponse, ResultResponse


def run(data: Optional[Dict[str, Any]] = None, params: Optional[Dict[str, Any]] = None):
    graph = networkx.Graph()
    for start, end, distance in data["roads"]:
        graph.add_edge(start, end, weight=distance)
    logger.info("{} towns, {} roads", graph.number_of_nodes(), graph.number_of_edges())
    try:
        path = networkx.shortest_path(graph, params["from"], params["to"], weight="weight")
    except networkx.NetworkXException as error:
        return ErrorResponse(code="no_path", detail=str(error))
    return ResultResponse({"path": path, "distance": networkx.path_weight(graph, path, "weight")})
