-- Repairs an order in the source that was quarantined, for a replay to bring over.
UPDATE orders SET user_id = 1 WHERE id = 930
