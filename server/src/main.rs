//! The `driftless` binary: hands over to the library.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use driftless::app;
use driftless::cli::{self, Context};
use driftless::config::environment::ProcessEnvironment;
use tikv_jemallocator::Jemalloc;

/// Faster than the system's for many small buffers of many threads, and it gives memory back.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // One provider of cryptography for everything that speaks TLS: whoever asks for the default one
    // gets this. It can only be there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut context = Context {
        environment: &ProcessEnvironment,
        input: &mut io::stdin(),
        output: &mut io::stdout(),
        output_is_terminal: io::stdout().is_terminal(),
        errors: &mut io::stderr(),
        errors_is_terminal: io::stderr().is_terminal(),
    };
    let code = cli::run(std::env::args_os(), &mut context, app::serve);
    ExitCode::from(code)
}
