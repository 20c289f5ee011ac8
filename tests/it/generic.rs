//! Kind generic: its configuration, what each way of answering is taken for, and the whole path to a machine and back.

mod answers;
mod config;
mod node;
mod path;
