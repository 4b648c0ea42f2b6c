/**
 * Everything that is done to shared counters, as one script, so that each operation is atomic.
 * A string and not a file of its own, so that it travels with the code however that is packed.
 *
 * KEYS  buckets, then holds
 * ARGV  operation; number of buckets; per bucket: capacity, refill per second, amount; per hold: capacity, id, TTL in ms
 *       take  amount is taken       → granted (1 or 0), index of the short key, seconds to wait, level of each bucket
 *       give  amount is given back, holds are freed
 *       renew holds are taken without a check
 *
 * A bucket is a string `level time`, the time in ms; a full bucket has no key. Holds are a sorted set: id → expiry.
 * The clock is the server's own. Numbers go back as strings, because a Lua number becomes an integer on the way.
 * Nothing is written before everything is known to fit; and Redis denies a script for lack of memory at its first write.
 */
export const SCRIPT = /* lua */ `
local operation, count = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

local function bucket (i)
  local at = 3 * i
  local b = { key = KEYS[i], capacity = tonumber(ARGV[at]), refill = tonumber(ARGV[at + 1]), amount = tonumber(ARGV[at + 2]) }
  local known = redis.call('GET', b.key)
  b.level = b.capacity
  if known then
    local level, since = string.match(known, '^(%S+) (%S+)$')
    b.level = math.min(b.capacity, level + math.max(0, now - since) * b.refill / 1000)
  end
  return b
end

local function hold (i)
  local at = 3 * i
  return { key = KEYS[i], capacity = tonumber(ARGV[at]), id = ARGV[at + 1], ttl = tonumber(ARGV[at + 2]) }
end

local function put (b, level)
  b.level = math.min(b.capacity, level)
  if b.level == b.capacity then return redis.call('DEL', b.key) end
  local ttl = math.min(1e12, math.ceil((b.capacity - b.level) / b.refill * 1000) + 1000)
  redis.call('SET', b.key, string.format('%.17g %.17g', b.level, now), 'PX', string.format('%.0f', ttl))
end

local function occupy (h)
  redis.call('ZREMRANGEBYSCORE', h.key, '-inf', string.format('%.17g', now))
  redis.call('ZADD', h.key, string.format('%.17g', now + h.ttl), h.id)
  if redis.call('PTTL', h.key) < h.ttl then redis.call('PEXPIRE', h.key, string.format('%.0f', h.ttl)) end
end

local function full (h)
  return redis.call('ZCOUNT', h.key, '(' .. string.format('%.17g', now), '+inf') >= h.capacity and not redis.call('ZSCORE', h.key, h.id)
end

local buckets, holds = {}, {}
for i = 1, count do buckets[i] = bucket(i) end
for i = count + 1, #KEYS do holds[#holds + 1] = hold(i) end

if operation == 'renew' then
  for _, h in ipairs(holds) do occupy(h) end
  return {}
end

if operation == 'give' then
  for _, h in ipairs(holds) do redis.call('ZREM', h.key, h.id) end
  for _, b in ipairs(buckets) do put(b, b.level + b.amount) end
  return {}
end

local short, longest = 0, 0
for i, b in ipairs(buckets) do
  local wait = 0
  if b.level + 1e-6 < b.amount then
    wait = b.amount > b.capacity and math.huge or (b.amount - b.level) / b.refill
  end
  if wait > longest then short, longest = i, wait end
end
for i, h in ipairs(holds) do
  if short == 0 and full(h) then short, longest = count + i, math.huge end
end

if short == 0 then
  for _, b in ipairs(buckets) do put(b, b.level - b.amount) end
  for _, h in ipairs(holds) do occupy(h) end
end
local reply = { short == 0 and '1' or '0', tostring(short), string.format('%.17g', longest) }
for _, b in ipairs(buckets) do reply[#reply + 1] = string.format('%.17g', b.level) end
return reply
`
