-- KEYS[1]: a bucket, kept as the moment at which it will be full, in us of this
-- server's clock. ARGV: us that 1 takes to fill, burst, how many to take: 1,
-- or 0 for who only wants to know. Returns whether 1 was, or could be, taken,
-- how many remain, us until the bucket is full, us until 1 may be taken.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = each * burst
local wait = math.min(math.max((tonumber(redis.call('GET', KEYS[1])) or now) - now, 0), whole)
if wait + each > whole + 1 then -- times are kept to the microsecond
  return {0, 0, math.ceil(wait), math.ceil(wait + each - whole)}
end
if ARGV[3] == '1' then
  wait = wait + each
  redis.call('SET', KEYS[1], string.format('%.0f', now + wait), 'PX', math.ceil(wait / 1000))
end
return {1, math.floor(math.max(whole - wait, 0) / each + 0.000001), math.ceil(wait), 0}
