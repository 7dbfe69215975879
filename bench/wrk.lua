-- Clients are configured by what follows the address: names and values of headers.
function init(args)
  for i = 1, #args, 2 do
    wrk.headers[args[i]] = args[i + 1]
  end
end

function done(summary)
  local e = summary.errors
  io.write(string.format(
    '\nRESULT {"answers":%d,"took_us":%d,"bytes":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout))
end
