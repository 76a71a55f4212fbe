//! A connection that outlives its broker, and a publish that ends when the broker has acknowledged it.
