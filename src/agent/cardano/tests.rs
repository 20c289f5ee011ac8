//! What is synced, what is not, and what is said of it.
