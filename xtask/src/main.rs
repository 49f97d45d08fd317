//! `cargo xtask`: see `cli`.

fn main() -> std::process::ExitCode {
    xtask::cli::main()
}
