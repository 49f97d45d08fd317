-- A service changes an order after the cut-over.
UPDATE orders SET tracking_number = :'mark' WHERE id = :'id' RETURNING id
