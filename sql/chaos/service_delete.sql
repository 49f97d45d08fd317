-- A service takes a payment away after the cut-over.
DELETE FROM payments WHERE id = :'id'
