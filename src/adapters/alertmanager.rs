//! Alertmanager: its webhook messages come in here, and its list of alerts is asked for here.
//!
//! It decides nothing about a validator: what an alert means is [`crate::domain::alerts`].

pub mod matchers;
