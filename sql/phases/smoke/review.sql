-- The review that was made: 1. On product_database, and on the old database.
-- Variables: review, product, order, rating, mark.
SELECT count(*) AS found
FROM product_reviews
WHERE id = :'review'::integer
  AND product_id = :'product'::integer
  AND order_id = :'order'::integer
  AND rating = :'rating'::integer
  AND comment = :'mark'
