//! The `dsgkd` command.

fn main() {}
