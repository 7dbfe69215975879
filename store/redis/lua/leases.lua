-- KEYS[1]: the leases of one kind, see hold.lua. Returns four for each that is
-- held or remembered as released: id, the time left in ms, entry's first part
-- (generation), and its last (state and value). Drops what has expired.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
local live = {}
for i = 1, #all, 2 do
  local left = tonumber(all[i + 1]:sub(21, 36)) - now
  if left > 0 then
    live[#live + 1] = all[i]
    live[#live + 1] = left
    live[#live + 1] = all[i + 1]:sub(1, 20)
    live[#live + 1] = all[i + 1]:sub(37)
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
return live
