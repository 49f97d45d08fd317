-- What a service of the old shop may do, whose role a freeze keeps out. psql: \set role shop_service
GRANT SELECT, UPDATE ON orders TO :"role"
