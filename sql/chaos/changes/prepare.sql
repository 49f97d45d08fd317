-- psql: \set name writer-1-7
PREPARE TRANSACTION :'name'
