-- KEYS[1]: the leases of one kind, see hold.lua. ARGV: id. Returns this server's
-- clock in microseconds, and the generation that the entry has, or an empty text.
local time = redis.call('TIME')
local old = redis.call('HGET', KEYS[1], ARGV[1])
return {time[1] * 1000000 + time[2], old and old:sub(1, 20) or ''}
