//! Kind generic against a fake node: what each way of answering is taken for, and the whole path to a machine and back.

mod answers;
mod node;
mod path;
