-- The rule for logs: every one goes that the target can hold.
SELECT id,
       CASE WHEN num_nulls(created_at) > 0 OR id IN (:undecodable_api_logs) OR id IN (:unfit_api_logs)
            THEN 'quarantined' ELSE 'migrated' END AS kind
FROM system_logs
