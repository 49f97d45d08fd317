-- What a gateway writes after the cut-over. psql: \set seed 0.42 \set writes 6 \set uids {uid-1,uid-2}
SELECT setseed(:seed);
INSERT INTO api_logs (service_name, path, method, status_code, latency_ms, user_uid, ip_address, request_id, created_at)
SELECT 'gateway', '/api/' || n, 'POST', 201, n, (SELECT uid FROM unnest(:'uids'::text[]) uid ORDER BY random(), n LIMIT 1),
       CASE WHEN random() < 0.5 THEN '10.1.0.0/16'::inet ELSE '10.0.0.1' END, md5(random()::text), clock_timestamp()
FROM generate_series(1, :writes) n;
UPDATE api_logs SET path = path || '?', status_code = 500 WHERE id IN (SELECT id FROM api_logs ORDER BY random() LIMIT 2);
DELETE FROM api_logs WHERE id IN (SELECT id FROM api_logs ORDER BY random() LIMIT 2);
INSERT INTO analytics_events (event_name, user_uid, properties, created_at)
SELECT 'event', CASE WHEN random() < 0.5 THEN (SELECT uid FROM unnest(:'uids'::text[]) uid ORDER BY random(), n LIMIT 1) END,
       CASE WHEN random() < 0.5 THEN '{"x": [1, null, "\u00e9"]}'::jsonb END, clock_timestamp()
FROM generate_series(1, :writes) n;
UPDATE analytics_events SET properties = NULL, session_id = '' WHERE id IN (SELECT id FROM analytics_events ORDER BY random() LIMIT 3);
DELETE FROM analytics_events WHERE id IN (SELECT id FROM analytics_events ORDER BY random() LIMIT 2)
