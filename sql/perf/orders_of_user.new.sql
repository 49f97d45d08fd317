-- order-service: the newest orders of a user
SELECT * FROM orders WHERE user_uid = :'user_uid' ORDER BY created_at DESC, id DESC LIMIT 20
