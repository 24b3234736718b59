//! cargo-fuzz sets RUSTFLAGS, and with that cargo forgets the rpath to LibTorch in `.cargo/libtorch.toml`: here it is
//! again.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
}
