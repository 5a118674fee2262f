-- Passes every request for a key on to one server.
function mcp_config_pools()
    return mcp.pool({ mcp.backend("server", "127.0.0.1", PORT) })
end

function mcp_config_routes(pool)
    local to_pool = mcp.funcgen_new()
    local handle = to_pool:new_handle(pool)
    to_pool:ready({
        n = "to_pool",
        f = function(context)
            return function(request)
                return context:enqueue_and_wait(request, handle)
            end
        end,
    })
    mcp.attach(mcp.CMD_ANY_STORAGE, to_pool)
end
