//! Log lines on stderr, for people or as JSON.

use gfs_types::config::LogFormat;
use tracing_subscriber::EnvFilter;

/// The environment variable that says what is logged, in the syntax of `tracing_subscriber::EnvFilter`; without it, INFO.
pub const FILTER_VARIABLE: &str = "GFS_LOG";

/// A filter that does not parse, or logging that was set up before.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The variable holds no filter.
    #[error(
        "the environment variable {FILTER_VARIABLE} is no log filter (example: info,gfs_master=debug): {0}"
    )]
    Filter(#[from] tracing_subscriber::filter::FromEnvError),
    /// A process sets up logging once.
    #[error("setting up log lines: {0}")]
    Twice(String),
}

/// Sends log lines to stderr from now on. Once a process.
///
/// # Errors
/// When `GFS_LOG` does not parse, or logging was set up before.
pub fn init(format: LogFormat) -> Result<(), LogsError> {
    let filter = EnvFilter::builder()
        .with_env_var(FILTER_VARIABLE)
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .from_env()?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let outcome = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| LogsError::Twice(error.to_string()))
}
