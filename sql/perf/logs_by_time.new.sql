-- api-gateway: the log of the last hour, the newest first
SELECT id, service_name, request_id, created_at FROM api_logs
WHERE created_at > :'from' AND created_at <= :'to'
ORDER BY created_at DESC, id DESC
LIMIT 100
