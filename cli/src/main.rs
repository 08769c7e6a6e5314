//! The `synapse` command.

fn main() -> std::process::ExitCode {
    synapse_cli::main(None)
}
