-- api-gateway: the newest events of a user
SELECT id, event_name, properties, created_at FROM analytics_events
WHERE user_uid = :'user_uid'
ORDER BY created_at DESC, id DESC
LIMIT 100
