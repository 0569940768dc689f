"""`/sandbox/…`: faults at run time.  No part of the server's API; loopback only, as all here."""

from .http_base import envelope, json_object


async def list_faults(node, request):
    return envelope(request, node.faults.list())


async def add_fault(node, request):
    number = await node.faults.add(await json_object(request))
    return envelope(request, {"id": number})


async def clear_faults(node, request):
    text = request.match_info.get("id")
    await node.faults.clear(None if text is None else int(text))
    return envelope(request, True)


async def info(node, request):
    """What `holdfast sandbox status` shows of a node."""
    shards = len(node.shards)
    return envelope(
        request,
        {
            "node": node.index,
            "peer_id": node.peer_id,
            "shards": shards,
            "faults": node.faults.list(),
        },
    )


def register(routes):
    routes.add("GET", "/sandbox/info", info)
    routes.add("GET", "/sandbox/faults", list_faults)
    routes.add("POST", "/sandbox/faults", add_fault, "w")
    routes.add("DELETE", "/sandbox/faults", clear_faults, "w")
    routes.add("DELETE", "/sandbox/faults/{id}", clear_faults, "w")
