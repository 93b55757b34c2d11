//! Backups as operators make them: `pg_dump` as text or as an archive, and `psql` or `pg_restore`
//! with it on another server.

use std::path::Path;

use super::{Postgres, run};

impl Postgres {
    /// `pg_dump` with these options, as the superuser; what it prints.
    pub fn dump(&self, database: &str, options: &[&str]) -> Vec<u8> {
        let mut dump = self.command("pg_dump");
        dump.args(["-U", "postgres", "-h"]).arg(self.folder());
        let output = dump.args(options).arg(database).output();
        let output = output.expect("pg_dump runs");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// `psql` with a dump, as people do it: errors are told, and it goes on. What it told.
    pub fn restore(&self, database: &str, dump: &[u8]) -> String {
        let (_file, path) = self.file(dump);
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(self.folder()).arg("-f").arg(&path);
        let output = psql.output().expect("psql runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// `pg_restore` with an archive and these options. It fails if anything did, roles that are not
    /// there included, and has restored the rest: what it told.
    pub fn restore_archive(&self, database: &str, archive: &[u8], options: &[&str]) -> String {
        let (_file, path) = self.file(archive);
        let mut restore = self.command("pg_restore");
        restore.args(["-U", "postgres", "-d", database, "-h"]);
        let output = restore.arg(self.folder()).args(options).arg(&path).output();
        let output = output.expect("pg_restore runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, content: &[u8]) -> (tempfile::NamedTempFile, std::path::PathBuf) {
        let file = tempfile::NamedTempFile::new_in(self.folder()).expect("a file");
        std::fs::write(file.path(), content).expect("written");
        let path: &Path = file.path();
        run(std::process::Command::new("chmod").arg("644").arg(path));
        let path = path.to_owned();
        (file, path)
    }
}
