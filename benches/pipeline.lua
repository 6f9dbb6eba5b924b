-- For wrk: 16 requests at a time on each connection.
init = function(args)
  local all = {}
  for i = 1, 16 do all[i] = wrk.format() end
  batch = table.concat(all)
end

request = function() return batch end
