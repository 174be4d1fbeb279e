//! Where a copy goes, as `cp` has it.

/// What stands at the destination now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Nothing,
    File,
    Directory,
}

/// The destination of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination {
    pub(crate) there: There,
    /// It was written with a slash at its end: it must be a directory.
    pub(crate) trailing_slash: bool,
    /// How many sources go there.
    pub(crate) sources: usize,
}

/// Where one source goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It takes the destination's name.
    Itself,
    /// It keeps its own name, in the destination.
    Inside,
}

impl Destination {
    /// Where a source goes; `named` is false for `.` and the like, whose contents are meant.
    ///
    /// The error says what is wrong with the destination.
    pub(crate) fn place(&self, is_directory: bool, named: bool) -> Result<Place, &'static str> {
        match self.there {
            There::Directory if named => Ok(Place::Inside),
            There::Directory => Ok(Place::Itself),
            _ if self.sources > 1 => Err("it is not a directory, and several sources go there"),
            There::File if is_directory => Err("it is a file, and a directory should go there"),
            There::File if self.trailing_slash => Err("it is a file, not a directory"),
            There::Nothing if self.trailing_slash && !is_directory => {
                Err("there is no such directory; make it with `mkdir` first")
            }
            There::File | There::Nothing => Ok(Place::Itself),
        }
    }
}

/// Whether only the contents of a directory are meant: `.`, `..`, `/`, and what ends with them.
pub(crate) fn means_contents(source: &str) -> bool {
    let trimmed = source.trim_end_matches('/');
    trimmed.is_empty() || matches!(trimmed.rsplit('/').next(), Some("." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(there: There, slash: bool, sources: usize, directory: bool) -> Option<Place> {
        let destination = Destination { there, trailing_slash: slash, sources };
        destination.place(directory, true).ok()
    }

    #[test]
    fn a_file_goes_where_cp_would_put_it() {
        assert_eq!(place(There::Nothing, false, 1, false), Some(Place::Itself));
        assert_eq!(place(There::File, false, 1, false), Some(Place::Itself));
        assert_eq!(place(There::Directory, false, 1, false), Some(Place::Inside));
        assert_eq!(place(There::Directory, true, 9, false), Some(Place::Inside));
        assert_eq!(place(There::Nothing, true, 1, false), None);
        assert_eq!(place(There::File, true, 1, false), None);
        assert_eq!(place(There::Nothing, false, 2, false), None);
        assert_eq!(place(There::File, false, 2, false), None);
    }

    #[test]
    fn a_tree_takes_the_new_name_or_goes_inside() {
        assert_eq!(place(There::Nothing, false, 1, true), Some(Place::Itself));
        assert_eq!(place(There::Nothing, true, 1, true), Some(Place::Itself));
        assert_eq!(place(There::Directory, false, 1, true), Some(Place::Inside));
        assert_eq!(place(There::File, false, 1, true), None);
        assert_eq!(place(There::Nothing, false, 2, true), None);
    }

    #[test]
    fn the_contents_of_a_nameless_directory_go_straight_in() {
        let there = There::Directory;
        let destination = Destination { there, trailing_slash: false, sources: 1 };
        assert_eq!(destination.place(true, false), Ok(Place::Itself));
        for source in [".", "..", "/", "a/.", "a/..", "./", "//"] {
            assert!(means_contents(source), "{source:?}");
        }
        for source in ["a", "a/", ".a", "a/b", "...", "-"] {
            assert!(!means_contents(source), "{source:?}");
        }
    }
}
