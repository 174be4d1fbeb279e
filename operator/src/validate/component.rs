//! The kinds of servers.

/// A kind of server: the value of the label `app.kubernetes.io/component`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The primary master.
    Master,
    /// A shadow master.
    ShadowMaster,
    /// A chunkserver.
    Chunkserver,
}

impl Component {
    /// As the label has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::ShadowMaster => "shadow-master",
            Self::Chunkserver => "chunkserver",
        }
    }
}
