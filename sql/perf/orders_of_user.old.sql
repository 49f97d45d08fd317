-- order-service: the newest orders of a user
SELECT * FROM orders WHERE user_id = :'user_id' ORDER BY created_at DESC, id DESC LIMIT 20
