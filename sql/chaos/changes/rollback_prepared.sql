-- psql: \set name writer-1-7
ROLLBACK PREPARED :'name'
