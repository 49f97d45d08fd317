-- What is left of the review that was taken back: 0. Variables: review.
SELECT count(*) AS found
FROM product_reviews
WHERE id = :'review'::integer
