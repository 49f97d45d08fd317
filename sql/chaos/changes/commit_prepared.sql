-- psql: \set name writer-1-7
COMMIT PREPARED :'name'
