//! Prints the FNV-1a hash of each line of its standard input, and the line.

use std::hash::Hasher;
use std::io::{self, BufRead};

fn main() -> io::Result<()> {
    let stdin = io::stdin();
    for line in stdin.lock().lines() {
        let line = line?;
        let mut hasher = fnv::FnvHasher::default();
        hasher.write(line.as_bytes());
        if cfg!(feature = "decimal") {
            println!("{} {}", hasher.finish(), line);
        } else {
            println!("{:016x} {}", hasher.finish(), line);
        }
    }
    Ok(())
}
