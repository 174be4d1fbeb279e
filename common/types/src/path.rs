//! Paths of the namespace: absolute, UTF-8, `/`-separated, normal.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX};

/// The system's own directory.
pub const SYSTEM_DIR: &str = "/.gfs";
/// Uploads that do not have their final name yet.
pub const UPLOAD_DIR: &str = "/.gfs/tmp";
/// Deleted files until their grace ends.
pub const TRASH_DIR: &str = "/.gfs/trash";

/// A checked path: it starts with `/`, has no empty, `.` or `..` name, no NUL, and keeps the limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GfsPath {
    text: String,
}

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin at the root.
    #[error("path `{0}` is not absolute: begin it with /")]
    NotAbsolute(String),
    /// Too many bytes in all.
    #[error("path of {0} bytes is too long: at most {PATH_BYTES_MAX} bytes are allowed")]
    TooLong(usize),
    /// Too many bytes in one name.
    #[error("name `{0}` of {1} bytes is too long: at most {NAME_BYTES_MAX} bytes are allowed")]
    NameTooLong(String, usize),
    /// Too many names.
    #[error("path of {0} names is too deep: at most {PATH_DEPTH_MAX} names are allowed")]
    TooDeep(usize),
    /// `.` or `..`, which would give one thing two names.
    #[error("path `{0}` holds `.` or `..`: write it without")]
    Dots(String),
    /// A NUL byte, which no tool can type.
    #[error("path holds a NUL byte")]
    Nul,
}

impl From<PathError> for Error {
    fn from(error: PathError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Whether `name` can stand between two slashes.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), PathError> {
    if name == "." || name == ".." {
        return Err(PathError::Dots(name.to_owned()));
    }
    if name.contains('\0') {
        return Err(PathError::Nul);
    }
    if name.len() > NAME_BYTES_MAX {
        let shown: String = name.chars().take(32).collect();
        return Err(PathError::NameTooLong(format!("{shown}…"), name.len()));
    }
    Ok(())
}

/// What stands between the slashes.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('/').filter(|name| !name.is_empty())
}

impl GfsPath {
    /// `/`.
    #[must_use]
    pub fn root() -> Self {
        Self { text: "/".to_owned() }
    }

    /// Checks and normalises: repeated and trailing slashes go.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong(text.len()));
        }
        if !text.starts_with('/') {
            return Err(PathError::NotAbsolute(text.to_owned()));
        }
        let (mut depth, mut bytes) = (0, 0);
        for name in names(text) {
            check_name(name).map_err(|error| match error {
                PathError::Dots(_) => PathError::Dots(text.to_owned()),
                other => other,
            })?;
            depth += 1;
            bytes += "/".len() + name.len();
        }
        if depth > PATH_DEPTH_MAX {
            return Err(PathError::TooDeep(depth));
        }
        if bytes == text.len() {
            // As most are.
            return Ok(Self { text: text.to_owned() });
        }
        let names: Vec<&str> = names(text).collect();
        Ok(Self { text: format!("/{}", names.join("/")) })
    }

    /// The text, normalised.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names between the slashes; none for the root.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.text)
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.text == "/"
    }

    /// The last name; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.names().last()
    }

    /// The directory it stands in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.text.rsplit_once('/')?;
        if name.is_empty() {
            return None;
        }
        Some(Self { text: if parent.is_empty() { "/".to_owned() } else { parent.to_owned() } })
    }

    /// The path of `name` in this directory; `name` may hold slashes.
    ///
    /// # Errors
    /// When the result is no path.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        Self::parse(&format!("{}/{}", self.text, name))
    }

    /// Whether this is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self.text == other.text
            || self.text.strip_prefix(&other.text).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether it lies in the system's own directory.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.names().next() == Some(".gfs")
    }
}

impl fmt::Display for GfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for GfsPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> GfsPath {
        text.parse().unwrap()
    }

    #[test]
    fn slashes_are_folded_and_parts_found() {
        let p = path("//a///b c/ü/");
        assert_eq!(p.as_str(), "/a/b c/ü");
        assert_eq!(p.name(), Some("ü"));
        assert_eq!(p.parent(), Some(path("/a/b c")));
        assert_eq!(path("/a").parent(), Some(GfsPath::root()));
        assert_eq!(GfsPath::root().parent(), None);
        assert_eq!(GfsPath::root().name(), None);
        assert_eq!(path("/").join("x").unwrap(), path("/x"));
        assert!(path("/a/b").is_within(&path("/a")));
        assert!(!path("/ab").is_within(&path("/a")));
        assert!(path("/.gfs/tmp/x").is_reserved());
        assert!(!path("/.gfsx").is_reserved());
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        assert!(GfsPath::parse(&format!("/{}", "n".repeat(255))).is_ok());
        assert!(GfsPath::parse(&format!("/{}", "n".repeat(256))).is_err());
        let full = "/".to_owned() + &["n".repeat(63).as_str(); 64].join("/");
        assert_eq!(full.len(), 4096);
        assert!(GfsPath::parse(&full).is_ok());
        assert!(matches!(GfsPath::parse(&(full + "n")), Err(PathError::TooLong(4097))));
        assert!(GfsPath::parse(&"/n".repeat(256)).is_ok());
        assert!(matches!(GfsPath::parse(&"/n".repeat(257)), Err(PathError::TooDeep(257))));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", "a", "./a", "/a/../b", "/.", "/a\0b"] {
            assert!(GfsPath::parse(text).is_err(), "{text:?} was taken");
        }
        assert!(GfsPath::parse("/...").is_ok());
        assert!(GfsPath::parse("/-rf").is_ok());
    }
}
