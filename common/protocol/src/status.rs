//! Errors in and out of gRPC statuses, for the unary calls.

use gfs_types::{Error, ErrorKind};
use tonic::{Code, Status};

/// The status that carries this error; the message begins with the kind, so that it survives.
#[must_use]
pub fn to_status(error: &Error) -> Status {
    let code = match error.kind {
        ErrorKind::Invalid => Code::InvalidArgument,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Stale | ErrorKind::ChunkFull | ErrorKind::NeedData => Code::FailedPrecondition,
        ErrorKind::Busy => Code::Unavailable,
        ErrorKind::Unknown => Code::Unknown,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::Fenced => Code::Aborted,
        ErrorKind::Internal => Code::Internal,
    };
    Status::new(code, error.message.clone())
}

/// What a failed call means: a lost connection leaves the outcome unknown.
#[must_use]
pub fn from_status(status: &Status) -> Error {
    let kind = match status.code() {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => ErrorKind::Invalid,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
        Code::FailedPrecondition => ErrorKind::Stale,
        Code::ResourceExhausted => ErrorKind::Busy,
        Code::DataLoss => ErrorKind::Corrupt,
        Code::Aborted => ErrorKind::Fenced,
        Code::Internal => ErrorKind::Internal,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Unavailable => {
            ErrorKind::Unknown
        }
    };
    Error::new(kind, status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_never_claimed_that_is_not_known() {
        for code in [Code::Cancelled, Code::Unknown, Code::DeadlineExceeded, Code::Unavailable] {
            assert_eq!(from_status(&Status::new(code, "x")).kind, ErrorKind::Unknown);
        }
    }

    #[test]
    fn what_the_caller_must_change_stays_what_it_is() {
        for kind in
            [ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::AlreadyExists, ErrorKind::Denied]
        {
            assert_eq!(from_status(&to_status(&Error::new(kind, "x"))), Error::new(kind, "x"));
        }
    }
}
