-- product-service: the products of a category, the guide's query of 5.6
SELECT * FROM products WHERE category_id = :'category_id' AND status = 'active'
