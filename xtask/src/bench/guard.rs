//! What is left behind when this program is killed: a shell that waits for that ends the process and removes the folder.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Result;

/// While this lives, nothing happens; when it is dropped neither.
pub(crate) struct Guard(Child);

/// Its standard input ends when this program does, however that comes about. Servers that are ending still write.
const SCRIPT: &str = r#"
cat > /dev/null
[ -z "$1" ] || kill -TERM "$1" 2> /dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    rm -rf -- "$0"
done
"#;

impl Guard {
    /// Over a folder, and a process that works in it.
    pub(crate) fn over(folder: &Path, process: Option<u32>) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).arg(folder).args(process.map(|id| id.to_string()));
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // Out of reach of a Ctrl-C, which is for all processes of a group.
        Ok(Self(shell.process_group(0).spawn()?))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
