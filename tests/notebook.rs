//! The notebook runs, over the sample data, and every cell of it.

#![allow(unreachable_pub, reason = "a test")]

#[path = "support/samples.rs"]
mod samples;

#[test]
fn every_cell_of_the_notebook_runs() {
    samples::compare("notebook.py", &[]);
}
