-- A request in the gateway's log: 1. Variables: request_id, method, path, status.
SELECT count(*) AS found
FROM api_logs
WHERE request_id = :'request_id'
  AND method = :'method'
  AND path = :'path'
  AND status_code = :'status'::integer
