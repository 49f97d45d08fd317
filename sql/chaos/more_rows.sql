-- What the smallest shop lacks for the campaign of corruptions, put into its source before it is migrated:
-- events of every shape, and ids that stand far apart, so that no digest covers a table alone.
INSERT INTO analytics_events (id, event_name, user_id, session_id, properties, ip_address, user_agent, referrer,
                              utm_source, utm_medium, utm_campaign, created_at)
SELECT l.id, coalesce(l.service_name, 'none'), l.user_id, l.message, p.gateway_response, l.ip_address, l.user_agent,
       l.message, l.service_name, l.request_id, l.service_name, l.created_at
FROM system_logs l
LEFT JOIN payments p ON p.id = l.id;

INSERT INTO analytics_events (id, event_name, properties, created_at)
SELECT id, 'json', gateway_response, created_at FROM payments WHERE id BETWEEN 420 AND 439;

UPDATE analytics_events SET id = id + 20000 WHERE id BETWEEN 400 AND 439;
UPDATE analytics_events SET id = -12345 WHERE id = 509;
UPDATE payments SET id = id + 30000 WHERE id BETWEEN 500 AND 509;
UPDATE system_logs SET id = id + 10000 WHERE id BETWEEN 510 AND 519;
