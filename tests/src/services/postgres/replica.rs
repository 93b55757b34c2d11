//! Streaming replication between two servers of a test: a replica, the loss of its link, and its
//! promotion without what it had not received.

use super::{Postgres, run};
use crate::services::guard::poll;

impl Postgres {
    /// A replica of this server, asynchronous as by default. It is there when it has received
    /// everything that was committed when this was called.
    pub fn replica(&self) -> Postgres {
        let replica = Postgres::prepare();
        let mut copy = replica.command("pg_basebackup");
        copy.args(["-R", "-X", "stream", "-c", "fast", "--no-sync", "-U"])
            .args(["postgres", "-h"])
            .arg(&self.guard.folder)
            .arg("-D")
            .arg(replica.data());
        run(&mut copy);
        replica.launch();
        self.wait_replayed(&replica);
        replica
    }

    /// Waits until a replica of this server shows all that is committed here now.
    pub fn wait_replayed(&self, replica: &Postgres) {
        let written = self.sql("postgres", "SELECT pg_current_wal_lsn()");
        let replayed =
            format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{written}'::pg_lsn, false)");
        poll("the replica to catch up", || {
            replica.sql("postgres", &replayed) == "t"
        });
    }

    /// This replica receives nothing more; returns when its link is gone.
    pub fn sever(&self) {
        self.sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        self.sql("postgres", "SELECT pg_reload_conf()");
        poll("the replica's link to end", || {
            self.sql("postgres", "SELECT count(*) FROM pg_stat_wal_receiver") == "0"
        });
    }

    /// This replica becomes a primary with what it has.
    pub fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote(true, 60)"), "t");
        assert_eq!(self.sql("postgres", "SELECT pg_is_in_recovery()"), "f");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promoted_replica_lacks_what_was_committed_after_its_link_was_lost() {
        let primary = Postgres::start();
        primary.sql(
            "postgres",
            "CREATE TABLE t (n int); INSERT INTO t VALUES (1)",
        );
        let replica = primary.replica();
        primary.sql("postgres", "INSERT INTO t VALUES (2)");
        primary.wait_replayed(&replica);
        replica.sever();
        primary.sql("postgres", "INSERT INTO t VALUES (3)");
        primary.kill();
        replica.promote();
        replica.sql("postgres", "INSERT INTO t VALUES (4)");
        let rows = replica.sql("postgres", "SELECT string_agg(n::text, ' ') FROM t");
        assert_eq!(rows, "1 2 4");
        // What is lost can still be looked at where it was written.
        primary.restart();
        let rows = primary.sql("postgres", "SELECT string_agg(n::text, ' ') FROM t");
        assert_eq!(rows, "1 2 3");
    }
}
