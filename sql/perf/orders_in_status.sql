-- order-service: the newest orders in a status, as the back office lists them
SELECT id, status, payment_status, total_amount, created_at FROM orders
WHERE status = :'status'
ORDER BY created_at DESC, id DESC
LIMIT 50
