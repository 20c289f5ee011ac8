//! Records with one flipped bit: each is noticed, nothing is done by it, and people are notified.

mod bits;
mod rounds;
