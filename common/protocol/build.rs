//! Compiles the schema with protox, so that nobody needs protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["gfs/v1/common.proto", "gfs/v1/client.proto", "gfs/v1/control.proto", "gfs/v1/data.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().bytes(".gfs.v1").compile_fds(descriptors)?;
    Ok(())
}
