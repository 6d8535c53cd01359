CREATE TABLE stock (
  sku TEXT PRIMARY KEY,
  amount INTEGER NOT NULL CHECK (amount >= 0)
);
