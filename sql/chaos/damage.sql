-- Damage before the cut-over, for a repair to find.
UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1
