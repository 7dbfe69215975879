-- KEYS[1]: the leases of one kind, see hold.lua. ARGV: id, generation, how long
-- to remember it in ms. Returns 2: others see a difference, 1: they do not.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call('HGET', KEYS[1], ARGV[1])
local result = 1
if old and tonumber(old:sub(21, 36)) > now then
  if old:sub(1, 20) > ARGV[2] then return 1 end
  if old:sub(37, 37) == 'h' then result = 2 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. string.format('%016.0f', now + ARGV[3]) .. 'r')
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return result
