//! Backups as operators make them: `pg_dump` as text, and `psql` with it on another server.

use std::path::Path;

use super::{Postgres, run};

impl Postgres {
    /// `pg_dump` with these options, as the superuser; what it prints.
    pub fn dump(&self, database: &str, options: &[&str]) -> String {
        let mut dump = self.command("pg_dump");
        dump.args(["-U", "postgres", "-h"]).arg(self.folder());
        let output = dump.args(options).arg(database).output();
        let output = output.expect("pg_dump runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a dump of UTF-8 is UTF-8")
    }

    /// `psql` with a dump, as people do it: errors are told, and it goes on. What it told.
    pub fn restore(&self, database: &str, dump: &str) -> String {
        let (_file, path) = self.file(dump);
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(self.folder()).arg("-f").arg(&path);
        let output = psql.output().expect("psql runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, text: &str) -> (tempfile::NamedTempFile, std::path::PathBuf) {
        let file = tempfile::NamedTempFile::new_in(self.folder()).expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let path: &Path = file.path();
        run(std::process::Command::new("chmod").arg("644").arg(path));
        let path = path.to_owned();
        (file, path)
    }
}
