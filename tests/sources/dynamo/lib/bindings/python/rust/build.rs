//! Calls protoc in the way of prost-build, with which Dynamo's crates are built: a file that protoc brings along is
//! imported, and `optional` is of proto3, which protoc knows since 3.15.

use std::{env, path::Path, process::Command};

fn main() {
    let protoc = env::var_os("PROTOC").unwrap_or("protoc".into());
    let made = Path::new(&env::var_os("OUT_DIR").unwrap()).join("word.bin");
    let mut command = Command::new(protoc);
    command.args(["--include_imports", "--include_source_info", "-o"]).arg(made);
    assert!(command.args(["-I", "rust", "rust/word.proto"]).status().unwrap().success());
    println!("cargo::rerun-if-changed=rust/word.proto");
}
