-- A second database, in which older transactions stay open beside those of the first.
CREATE DATABASE elsewhere
