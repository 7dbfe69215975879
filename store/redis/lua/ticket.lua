-- KEYS[1]: a ticket. ARGV: who uses it, how long to remember it in ms. Returns 1
-- for the first who does, also when asked again because the answer got lost.
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
