-- KEYS[1]: the leases of one kind, by id. ARGV: id, generation (20 digits), ttl
-- in ms, value. Returns 0: superseded, 1: renewed, 2: others see a difference.
-- An entry is its generation (20 digits), its end (16 digits, ms of this
-- server's clock), "h" for held or "r" for released, and the value.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call('HGET', KEYS[1], ARGV[1])
local result = 2
if old and tonumber(old:sub(21, 36)) > now then
  local generation = old:sub(1, 20)
  if generation > ARGV[2] then return 0 end
  if generation == ARGV[2] then
    if old:sub(37, 37) == 'r' then return 0 end
    if old:sub(38) == ARGV[4] then result = 1 end
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. string.format('%016.0f', now + ARGV[3]) .. 'h' .. ARGV[4])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return result
