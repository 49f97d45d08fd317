-- The same in the monolith's log, which knows it by its message. Variables: request_id, method, path, status.
SELECT count(*) AS found
FROM system_logs
WHERE request_id = :'request_id'
  AND starts_with(message, :'method' || ' ' || :'path' || ' ' || :'status' || ' ')
