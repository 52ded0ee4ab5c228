//! What can go wrong in the engine.

use std::fmt;

/// An error with a message for the user: what was given, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// The system has no memory left for so many bytes.
    OutOfMemory(usize),
    /// Operands do not fit the operation.
    BadOperand(String),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory(bytes) => write!(
                f,
                "There is no memory for {bytes} more bytes. Use a smaller micro-batch, shorter sequences or activation checkpointing."
            ),
            Self::BadOperand(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for EngineError {}

/// Result of an operation of the engine.
pub type Result<T> = std::result::Result<T, EngineError>;
